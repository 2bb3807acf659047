-- While a namespace is paused, none of its steps start. Null: it is not paused.
alter table tasker.namespaces add column paused_at timestamptz;
-- How long finished tasks of the namespace are kept, in days. Zero: forever. Null: as the settings of the server say.
alter table tasker.namespaces add column finished_tasks_days integer check (finished_tasks_days >= 0);

-- The longest time from the creation of a task to its end. Null in templates of earlier releases, which did not
-- promise it.
alter table tasker.task_templates add column max_duration_minutes integer check (max_duration_minutes >= 1);
create index task_templates_timed on tasker.task_templates (template_id) where max_duration_minutes is not null;

-- Tasks that an operator created from another task, to run it again from a step.
create table tasker.forks (
    task_id     uuid primary key references tasker.tasks on delete cascade,
    -- The other task. It may have been deleted since.
    forked_from uuid not null,
    step_no     smallint not null
);
create index forks_of_task on tasker.forks (forked_from);
