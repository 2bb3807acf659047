-- Tasks that an operator created from another task, to run it again from a step.
create table tasker.forks (
    task_id     uuid primary key references tasker.tasks on delete cascade,
    -- The other task. It may have been deleted since.
    forked_from uuid not null,
    step_no     smallint not null
);
create index forks_of_task on tasker.forks (forked_from);
