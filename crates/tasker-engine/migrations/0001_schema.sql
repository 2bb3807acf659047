-- Tasker's engine: the state machine of tasks and steps, in PostgreSQL.
--
-- The life of a task
-- ------------------
-- A template (`task_templates`, `template_steps`) is a directed acyclic graph of steps. It never
-- changes once stored: a new graph is a new version, and a running task keeps the one it began with.
--
-- 1. `create_tasks` inserts a task and one row per step. Steps that depend on nothing become
--    `enqueued`: a message goes to the PGMQ queue of the task's namespace. The others are `pending`
--    and count the dependencies that they still wait for.
-- 2. A worker calls `start_steps`. It reads visible messages, hides each for the length of a lease,
--    and makes the steps `in_progress`: the attempt is counted, and a random token is the fence.
-- 3. The worker runs the handlers and calls `complete_steps` with a batch of results. A result counts
--    only with the token of the lease that holds the step. A completed step deletes its message and
--    counts down its dependents; those that reach zero are enqueued, or handed to the same worker
--    at once. The last step completes the task.
-- 4. A step whose handler failed waits (`waiting_for_retry`): its message is hidden for the backoff
--    delay. When no attempt is left, or the error is permanent, it is `failed`. A task with failed steps
--    and nothing left to run is `blocked_by_failures` until an operator retries or resolves the steps,
--    or fails or cancels the task.
-- 5. A worker that dies says nothing: its leases end, the messages become visible, and the next
--    `start_steps` counts a new attempt. Long steps call `extend_leases` to keep theirs.
--
--          create            start              complete
--   pending ----> enqueued ----> in_progress ---------------> completed
--                    ^            |   |  ^
--                    |    failure |   |  | start, when the backoff delay is over
--           released |            v   |  |
--                    +--- waiting_for_retry
--                                     |  no attempt left, or a permanent error
--                                     +-----------> failed --(operator)--> enqueued, resolved_manually
--   any state that is not final --(operator)--> cancelled
--
-- Rules that every function here keeps
-- ------------------------------------
-- * One call is one transaction. Everything is written for a whole batch at once.
-- * Lock order: tasks by task_id, then steps by (task_id, step_no), once in a call; messages are only ever
--   locked with SKIP LOCKED. So no two calls can wait for each other in a circle. Every change of a step takes
--   its task's lock first, except `start_steps` for a step that is plainly waiting in the queue and
--   `extend_leases`, which take the steps' locks in the same order and change nothing of the task.
-- * The queue is never trusted. A message says only "look at this step": a message too many is deleted
--   by the next reader, and one that comes too early is put back. The row in `steps` decides.
-- * Read first, into arrays; change in a later statement. A volatile function inside a larger statement
--   takes a later snapshot than the statement itself.
-- * Functions that touch growing tables pin their plans (`pin_plans`): the planner takes a set-returning function for many rows and
--   a young table for an empty one.
-- * Few statements, each for as much as it can do, and in PL/pgSQL, which keeps their plans: a batch of one, which is what
--   latency is made of, costs mostly what it takes to begin statements.

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

-- The states of tasks and steps; the tables say which belong to which. By `between` and `=`, not by `in`: every statement reads
-- the checks of its table anew, and a list takes it long.
create type tasker.state as enum (
    'pending', 'enqueued', 'in_progress', 'waiting_for_retry',
    'completed', 'failed', 'cancelled', 'resolved_manually', 'blocked_by_failures'
);

-- The engine's only clock. A session may set it (`set tasker.now = '2030-01-01'`) so that
-- leases and backoff are tested without waiting.
create function tasker.now() returns timestamptz
language sql volatile parallel safe
return coalesce(nullif(current_setting('tasker.now', true), '')::timestamptz, clock_timestamp());

-- Makes the session's planner choose indexes and nested loops, which suit the engine's statements whatever the tables hold, and keep
-- what it has chosen; without JIT, since the price of a pinned plan looks high enough for it, and compiling takes seconds.
-- For the session, not by a SET clause of each function, which would cost more than some of their statements.
create function tasker.pin_plans() returns void
language plpgsql as $$
begin
    if current_setting('plan_cache_mode') <> 'force_generic_plan' then
        perform set_config(name, 'off', false)
        from unnest(array['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit']) name;
        perform set_config('plan_cache_mode', 'force_generic_plan', false);
    end if;
end
$$;

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
    -- Sorts, byte by byte, as the versions do by semantic versioning.
    version_key text collate "C" not null,
    definition  jsonb not null,
    total_steps smallint not null check (total_steps >= 1),
    -- Steps that depend on nothing: where a task begins.
    root_steps  smallint not null check (root_steps between 1 and total_steps),
    created_at  timestamptz not null,
    unique (namespace, name, version)
);
create unique index task_templates_latest on tasker.task_templates (namespace, name, version_key desc);

-- The steps of a template as the engine needs them. Edges are kept here once, not once per task.
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

-- `active_steps` counts steps that are enqueued, in progress or waiting for a retry: at zero, with steps
-- failed, the task is blocked. Rows are hot and narrow: long inputs move out of line.
create table tasker.tasks (
    task_id         uuid primary key,
    template_id     bigint not null references tasker.task_templates,
    created_at      timestamptz not null,
    started_at      timestamptz,
    completed_at    timestamptz,
    state           tasker.state not null
        check (state <> 'enqueued' and state <> 'waiting_for_retry' and state <> 'resolved_manually'),
    -- Every point is worth ten seconds of waiting in the queue.
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
-- One index for every list: the filters are few names times few states, each a short scan.
create index tasks_listed on tasker.tasks (namespace, state, task_id);

-- A task's steps lie together. Only the primary key is indexed, so every change of state can stay in its page.
create table tasker.steps (
    task_id              uuid not null references tasker.tasks on delete cascade,
    step_no              smallint not null,
    pending_dependencies smallint not null check (pending_dependencies >= 0),
    attempts             smallint not null default 0 check (attempts >= 0),
    state                tasker.state not null
        check (state <> 'blocked_by_failures'),
    -- Set while in progress: the end of the lease. Set while waiting for a retry: the earliest next attempt.
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

-- Append-only: every change of state, of steps and (step_no null) of tasks.
create table tasker.transitions (
    transition_id bigint generated always as identity,
    task_id       uuid not null,
    at            timestamptz not null,
    step_no       smallint,
    attempt       smallint,
    from_state    tasker.state,
    to_state      tasker.state not null,
    -- The worker or operator that caused it, where there is one, and why.
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

-- Messages that somebody else put into our queues and that name no step: set aside, with the reason.
create table tasker.rejected_messages (
    rejected_message_id bigint generated always as identity primary key,
    queue       text not null,
    msg_id      bigint not null,
    message     jsonb,
    reason      text not null,
    rejected_at timestamptz not null
);

-- What a worker gets to run a step, or, where `refused`, word that its result did not count: its lease was over and
-- somebody else holds the step, or the step was cancelled or resolved by an operator.
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
    -- Not jsonb, which ends at 256 MiB: many large results are more.
    dependency_results json,
    attempt            smallint,
    max_attempts       smallint,
    timeout_seconds    integer,
    -- How long its message had been visible; null for a step that was handed to the worker that made it ready.
    waited_seconds     double precision
);
