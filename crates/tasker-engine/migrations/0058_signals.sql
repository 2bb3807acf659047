-- Signals to tasks. The first one of a name is kept, and those that arrive before a step waits for it are kept too.
create table tasker.signals (
    task_id uuid not null references tasker.tasks on delete cascade,
    name    text not null,
    payload jsonb not null,
    sent_at timestamptz not null,
    actor   text,
    primary key (task_id, name)
);
