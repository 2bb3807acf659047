-- Tags and searchable values of tasks, by which tasks are found. They are written once, when a task is created: an
-- index on `tasks` would cost time at every change of state.
create table tasker.task_values (
    task_id uuid not null,
    -- The name of a tag, empty for a tag without a name, or a JSON pointer into the context.
    name    text not null,
    value   text not null,
    primary key (task_id, name, value)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
create index task_values_found on tasker.task_values (value, task_id, name);
