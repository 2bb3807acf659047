-- Investigations of tasks that do not go on by themselves. They only record: steps are retried and resolved as ever.
create table tasker.dead_letters (
    entry_id       uuid primary key,
    task_id        uuid not null references tasker.tasks on delete cascade,
    namespace      text not null,
    reason         text not null check (reason in (
        'staleness_timeout', 'max_retries_exceeded', 'dependency_cycle_detected', 'worker_unavailable', 'manual_dlq')),
    -- The state of the task when the investigation was opened.
    original_state tasker.state not null,
    status         text not null check (status in ('pending', 'manually_resolved', 'permanently_failed', 'cancelled')),
    notes          text,
    metadata       jsonb,
    resolved_by    text,
    resolved_at    timestamptz check ((resolved_at is null) = (status = 'pending')),
    created_at     timestamptz not null,
    updated_at     timestamptz not null
);
-- A task has one open investigation at most.
create unique index dead_letters_open on tasker.dead_letters (task_id) where status = 'pending';
create index dead_letters_of_task on tasker.dead_letters (task_id);
create index dead_letters_listed on tasker.dead_letters (namespace, status, entry_id);
