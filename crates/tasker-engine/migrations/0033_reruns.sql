-- Tasks that an operator created from the input of another task.
create table tasker.reruns (
    task_id  uuid primary key,
    rerun_of uuid not null,
    actor    text,
    reason   text
);
