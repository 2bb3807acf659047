-- A child task runs for a step of another task.
alter table tasker.tasks
    add column parent_task_id uuid,
    add column parent_step_no smallint;
create index tasks_parent on tasker.tasks (parent_task_id) where parent_task_id is not null;
