-- Operators' actions on all tasks that match a filter. A server works on a job in batches, and another one continues if
-- it dies.
create table tasker.bulk_jobs (
    job_id      uuid primary key,
    action      text not null check (action in ('retry', 'cancel', 'fail')),
    -- The filter as the request gave it, and the namespaces of the caller (null: every one).
    filter      jsonb not null,
    namespaces  text[],
    actor       text,
    reason      text,
    status      text not null check (status in ('running', 'completed', 'stopped', 'failed')),
    error       text,
    -- The batches go from the newest task to the oldest. The next one starts before this task.
    before      uuid not null,
    examined    bigint not null default 0,
    done        bigint not null default 0,
    skipped     bigint not null default 0,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    finished_at timestamptz
);
create index bulk_jobs_running on tasker.bulk_jobs (job_id) where status = 'running';
