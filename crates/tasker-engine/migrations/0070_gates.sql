-- Gates: how many steps of a namespace run at once, and how many start in a time. `06_gate_steps.sql` tells how they work.

create table tasker.gates (
    gate_id        bigint generated always as identity primary key,
    namespace      text not null references tasker.namespaces,
    name           text not null,
    -- The limits of the template version that was stored last: the most steps that hold a slot of one key, and how many
    -- steps of one key start in how many seconds, of which `rate_burst` at once. Null if no template has such a limit.
    capacity       integer check (capacity >= 1),
    rate_limit     integer check (rate_limit >= 1),
    rate_seconds   integer check (rate_seconds >= 1),
    rate_burst     integer check (rate_burst between 1 and rate_limit),
    -- What an operator set instead. Null: nothing. A capacity of zero closes the gate.
    own_capacity   integer check (own_capacity >= 0),
    own_limit      integer check (own_limit >= 1),
    own_seconds    integer check (own_seconds >= 1),
    own_burst      integer check (own_burst between 1 and own_limit),
    updated_at     timestamptz not null,
    unique (namespace, name),
    check ((rate_limit is null) = (rate_seconds is null) and (rate_limit is null) = (rate_burst is null)),
    check ((own_limit is null) = (own_seconds is null) and (own_limit is null) = (own_burst is null))
);

-- One row for each key of a gate that is in use. Whoever changes its holds and waiters locks it. Hot, so it is narrow.
create table tasker.gate_slots (
    gate_id bigint not null,
    -- A value of the input of the tasks as a text. Empty if the template has no `key`.
    key     text not null,
    -- How many steps hold a slot.
    holds   integer not null default 0 check (holds >= 0),
    -- The waiter that got a slot last. None before it is left, so the search begins after it.
    served  bigint not null default 0,
    primary key (gate_id, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);

-- The same for rates. `next_at` is when the next step would start if there were no burst: the theoretical arrival time
-- of the generic cell rate algorithm.
create table tasker.gate_rates (
    gate_id bigint not null,
    key     text not null,
    next_at timestamptz not null,
    primary key (gate_id, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);

-- Steps that hold a slot, or whose rate lets them start later.
create table tasker.gate_holds (
    task_id   uuid not null,
    step_no   smallint not null,
    -- The slot. Null if the step has a rate only.
    gate_id   bigint,
    key       text,
    held_at   timestamptz not null,
    -- When the rate lets the step start, until it has started.
    starts_at timestamptz,
    primary key (task_id, step_no),
    check ((gate_id is null) = (key is null) and (gate_id is not null or starts_at is not null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
create index gate_holds_of_gate on tasker.gate_holds (gate_id, key) where gate_id is not null;

-- Steps that wait for a slot, in the order of arrival.
create table tasker.gate_waiters (
    waiter_id    bigint generated always as identity,
    task_id      uuid not null,
    step_no      smallint not null,
    gate_id      bigint not null,
    key          text not null,
    since        timestamptz not null,
    -- Since when its message was visible. The message that it gets with its slot has the same place in the queue.
    visible_at   timestamptz not null,
    -- The rate that it must keep after that. Null if it has none.
    rate_gate_id bigint,
    rate_key     text,
    primary key (task_id, step_no)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
create index gate_waiters_in_order on tasker.gate_waiters (gate_id, key, waiter_id);

-- A step at its gates: the slot and the rate that it needs, either of which may be null, and when it starts; null if it
-- must wait for a slot.
create type tasker.gated_step as (
    task_id uuid, step_no smallint, gate_id bigint, key text, rate_gate_id bigint, rate_key text, visible_at timestamptz,
    starts_at timestamptz
);
