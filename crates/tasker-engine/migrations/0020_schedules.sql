-- Schedules: each creates a task at the times of a cron expression.

create table tasker.schedules (
    name             text primary key,
    namespace        text not null references tasker.namespaces,
    template         text not null,
    -- The version of the template. Null means the newest one.
    version          text,
    cron             text not null,
    -- A name of the IANA database, such as Europe/Berlin.
    timezone         text not null,
    overlap          text not null check (overlap in ('skip', 'allow', 'cancel')),
    catch_up_seconds integer not null check (catch_up_seconds >= 0),
    context          jsonb not null,
    priority         smallint not null check (priority between 0 and 100),
    tags             jsonb,
    paused           boolean not null,
    -- The next slot that is not handled yet.
    next_at          timestamptz not null,
    -- The last slot that was handled, and what came of it.
    last_slot        timestamptz,
    last_outcome     text check (last_outcome in ('created', 'skipped', 'missed', 'failed')),
    last_error       text,
    -- The task that the schedule created last.
    last_task_id     uuid,
    created_at       timestamptz not null,
    updated_at       timestamptz not null
);
create index schedules_due on tasker.schedules (next_at) where not paused;

-- A schedule that is being fired: the slot, the next one, the task to create, and what comes of it.
create type tasker.fired_schedule as (
    name text, slot timestamptz, next_at timestamptz, task_id uuid, template_id bigint, latest boolean, error text,
    outcome text, cancel uuid
);
