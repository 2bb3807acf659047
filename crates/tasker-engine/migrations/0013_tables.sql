-- The tables and types of release 0.1.
--
-- Tables and types change by numbered migrations. A migration never changes once a release has shipped it.
-- The functions are not here: `functions/` holds their one current source.
--
-- Release 0.1 built the same tables with migrations 1 to 12. A database of 0.1 records this migration as
-- applied and does not run it.

create schema if not exists tasker;

do $$
begin
    if to_regprocedure('pgmq.create(text)') is null then
        if exists (select from pg_available_extensions where name = 'pgmq') then
            create extension pgmq;
        else
            raise exception 'PGMQ is not installed in this database, and this server does not offer it as an extension'
                using hint = 'Run `tasker-cli db migrate`: it installs PGMQ''s SQL first.';
        end if;
    end if;
end
$$;

-- The states of tasks and steps. CHECK constraints on the tables say which belong to which. They use
-- `between` and `=` instead of `in`, because every statement reads the checks of its table again and parses
-- lists slowly.
create type tasker.state as enum (
    'pending', 'enqueued', 'in_progress', 'waiting_for_retry',
    'completed', 'failed', 'cancelled', 'resolved_manually', 'blocked_by_failures'
);

create table tasker.namespaces (
    namespace  text primary key,
    queue      text not null unique,
    created_at timestamptz not null
);

create table tasker.task_templates (
    template_id bigint generated always as identity primary key,
    namespace   text not null references tasker.namespaces,
    name        text not null,
    version     text not null,
    -- Sorts byte by byte in the order of semantic versioning.
    version_key text collate "C" not null,
    definition  jsonb not null,
    total_steps smallint not null check (total_steps >= 1),
    -- How many steps depend on nothing. A task begins with them.
    root_steps  smallint not null check (root_steps between 1 and total_steps),
    created_at  timestamptz not null,
    unique (namespace, name, version)
);
create unique index task_templates_latest on tasker.task_templates (namespace, name, version_key desc);

-- The steps of a template. Edges are stored here once, not once per task.
create table tasker.template_steps (
    template_id     bigint not null references tasker.task_templates on delete cascade,
    step_no         smallint not null check (step_no >= 0),
    name            text not null,
    callable        text not null,
    initialization  jsonb not null,
    dependencies    smallint[] not null,
    dependents      smallint[] not null,
    max_attempts    smallint not null check (max_attempts >= 1),
    backoff         text not null check (backoff in ('exponential', 'linear', 'fixed')),
    backoff_base_ms bigint not null check (backoff_base_ms >= 0),
    max_backoff_ms  bigint not null check (max_backoff_ms >= 0),
    timeout_seconds integer not null check (timeout_seconds >= 1),
    primary key (template_id, step_no),
    unique (template_id, name)
);

-- `active_steps` counts the steps that are enqueued, in progress or waiting for a retry. A task with no
-- active steps and some failed steps is blocked. Rows are hot, so they are narrow: long inputs move out of
-- line.
create table tasker.tasks (
    task_id         uuid primary key,
    template_id     bigint not null references tasker.task_templates,
    created_at      timestamptz not null,
    started_at      timestamptz,
    completed_at    timestamptz,
    state           tasker.state not null
        check (state <> 'enqueued' and state <> 'waiting_for_retry' and state <> 'resolved_manually'),
    -- One point is worth ten seconds of waiting in the queue.
    priority        smallint not null check (priority between 0 and 100),
    total_steps     smallint not null,
    completed_steps smallint not null default 0,
    failed_steps    smallint not null default 0,
    active_steps    smallint not null,
    namespace       text not null,
    request_hash    bytea,
    idempotency_key text,
    tags            jsonb,
    context         jsonb not null,
    check (completed_steps >= 0 and failed_steps >= 0 and active_steps >= 0),
    check (completed_steps + failed_steps + active_steps <= total_steps),
    check ((idempotency_key is null) = (request_hash is null)),
    check ((completed_at is not null) = (state between 'completed' and 'cancelled'))
) with (fillfactor = 70, toast_tuple_target = 256,
        autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
create unique index tasks_idempotency_key on tasker.tasks (idempotency_key) where idempotency_key is not null;
-- One index serves every list: each pair of namespace and state is a short scan.
create index tasks_listed on tasker.tasks (namespace, state, task_id);

-- The steps of a task are stored together. Only the primary key is indexed, so a change of state can stay in
-- its page (a HOT update).
create table tasker.steps (
    task_id              uuid not null references tasker.tasks on delete cascade,
    step_no              smallint not null,
    pending_dependencies smallint not null check (pending_dependencies >= 0),
    attempts             smallint not null default 0 check (attempts >= 0),
    state                tasker.state not null
        check (state <> 'blocked_by_failures'),
    -- In progress: the end of the lease. Waiting for a retry: the earliest next attempt. Otherwise null.
    due_at               timestamptz,
    started_at           timestamptz,
    completed_at         timestamptz,
    -- The fencing token of the lease that holds the step.
    token                uuid,
    worker_id            text,
    result               jsonb,
    error                jsonb,
    primary key (task_id, step_no),
    check ((token is not null) = (state = 'in_progress')),
    check ((due_at is not null) = (state between 'in_progress' and 'waiting_for_retry')),
    check (result is null or state = 'completed' or state = 'resolved_manually'),
    check ((state = 'pending') <= (pending_dependencies > 0))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Append-only: every change of state of steps and, where step_no is null, of tasks.
create table tasker.transitions (
    transition_id bigint generated always as identity,
    task_id       uuid not null,
    at            timestamptz not null,
    step_no       smallint,
    attempt       smallint,
    from_state    tasker.state,
    to_state      tasker.state not null,
    -- The worker or operator that caused the change, if any, and the reason.
    actor         text,
    reason        text
);
create index transitions_of_task on tasker.transitions (task_id, transition_id);

create table tasker.workers (
    worker_id         text primary key,
    namespaces        text[] not null,
    status            text not null check (status in ('running', 'draining', 'stopped')),
    max_concurrent    integer not null,
    version           text not null,
    host              text not null,
    started_at        timestamptz not null,
    last_heartbeat_at timestamptz not null
) with (fillfactor = 50);

-- Messages that name no step. Somebody else put them into a queue; they are moved here with the reason.
create table tasker.rejected_messages (
    rejected_message_id bigint generated always as identity primary key,
    queue       text not null,
    msg_id      bigint not null,
    message     jsonb,
    reason      text not null,
    rejected_at timestamptz not null
);

-- What release 0.1 returns to a worker: a claimed step, or, where `refused`, the key of a result that was
-- refused.
create type tasker.claimed_step as (
    refused            boolean,
    task_id            uuid,
    step_no            smallint,
    token              uuid,
    msg_id             bigint,
    namespace          text,
    template_name      text,
    template_version   text,
    step_name          text,
    callable           text,
    initialization     jsonb,
    context            jsonb,
    -- json, because jsonb is limited to 256 MiB and many large results can exceed that.
    dependency_results json,
    attempt            smallint,
    max_attempts       smallint,
    timeout_seconds    integer,
    -- How long the message was visible. Null for a step that was handed to the worker that made it ready.
    waited_seconds     double precision
);

-- A message that was read from a queue.
create type tasker.read_message as (
    namespace text, msg_id bigint, visible_at timestamptz, task_id uuid, step_no smallint
);

-- A message that was read, its step as found under lock, and what to do about it.
create type tasker.read_step as (
    namespace text, msg_id bigint, visible_at timestamptz, task_id uuid, step_no smallint, action text,
    state tasker.state, attempts smallint, due_at timestamptz, worker_id text
);

-- A result that was accepted, and what it makes of its step.
create type tasker.accepted_result as (
    namespace text, msg_id bigint, task_id uuid, step_no smallint, token uuid, state tasker.state, due_at timestamptz
);

-- Retention deletes old transitions, so this table is vacuumed early and in small parts, like tasks and
-- steps.
alter table tasker.transitions set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
