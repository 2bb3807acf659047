-- Gates: how many steps run at once (`concurrency`), and how many start in a time (`rate`). Steps of all templates of a
-- namespace that name a gate share it. Each key of a gate has a limit of its own.
--
-- A step meets its gates when a worker first reads its message. Neither creating a task nor what makes a step ready knows
-- of gates, and a step that no worker can run takes no slot from others.
--
--   concurrency  There is a slot: the step takes it (`gate_holds`) and starts. There is none: its message is deleted, and
--                it waits, `enqueued`, in `gate_waiters`. Nobody polls. Whoever gives back a slot passes it to the waiter
--                that came first, and sends its message again, to the place that it had in the queue. No row of the
--                waiter's task or steps is locked. A step keeps its slot over attempts, and gives it back when it ends or
--                waits. A step with `task` keeps it until its child has ended.
--   rate         The generic cell rate algorithm reserves a time. If it is not now, the message is hidden until then.
--                Each attempt needs a reservation.
--
-- Who changes the holds or waiters of a key locks its row in `gate_slots`. Locks of gates come after those of tasks and
-- steps, and before those of messages: first all slots of a call, in the order of gate and key, then all rates. So a call
-- meets its gates once, at its end: `pass_gates` in `start_steps`, and `release_gates` in calls that end steps. Only
-- `spawn_children` comes after `pass_gates`. It changes nothing but slots that `pass_gates` has locked, and reserves no
-- rates.
--
-- Which steps give back their slots follows from their states, so no function that ends a step has to know of gates.

-- The key of a step at a gate. `p_gate` is `concurrency` or `rate` of its admission. Empty if the gate has no key. Null if
-- the input of the task has no string, number or boolean of up to 255 characters there.
create or replace function tasker.gate_key(p_context jsonb, p_gate jsonb) returns text
language plpgsql immutable as $$
declare
    v_value jsonb;
begin
    if jsonb_typeof(p_gate -> 'key') is distinct from 'array' then
        return '';
    end if;
    v_value := p_context #> array(select jsonb_array_elements_text(p_gate -> 'key'));
    if jsonb_typeof(v_value) in ('string', 'number', 'boolean') and length(v_value #>> '{}') <= 255 then
        return v_value #>> '{}';
    end if;
    return null;
end
$$;

-- Why a step with this admission cannot pass its gates. Null if it can. It is checked when its dependencies have settled.
create or replace function tasker.gate_key_error(p_context jsonb, p_admission jsonb) returns text
language sql immutable
return (
    select format('the input has no string, number or boolean of up to 255 characters at /%s, which is the key of the gate %s',
                  array_to_string(array(select jsonb_array_elements_text(g.gate -> 'key')), '/'), g.gate ->> 'gate')
    from (values (p_admission -> 'concurrency'), (p_admission -> 'rate')) g(gate)
    where jsonb_typeof(g.gate) = 'object' and tasker.gate_key(p_context, g.gate) is null
    limit 1);

-- Whether a step in this state keeps its slot. A checkpoint is a wait that is over at once.
create or replace function tasker.keeps_slot(p_step tasker.steps, p_now timestamptz) returns boolean
language sql immutable
return p_step.state in ('enqueued', 'in_progress', 'waiting_for_retry')
    or p_step.state = 'waiting' and (coalesce(p_step.due_at <= p_now, false) or coalesce(p_step.input ? 'child', false));

-- Creates the gates that the steps of a template name, and sets their limits. The version that was stored last decides.
create or replace function tasker.store_gates(p_namespace text, p_template_id bigint) returns void
language sql as $$
    insert into tasker.gates as g (namespace, name, capacity, rate_limit, rate_seconds, rate_burst, updated_at)
    select p_namespace, u.name, max(u.capacity), max(u.rate_limit), max(u.rate_seconds), max(u.rate_burst), tasker.now()
    from tasker.template_steps ts
    cross join lateral (
        values (ts.admission #>> '{concurrency,gate}', (ts.admission #>> '{concurrency,limit}')::integer, null::integer,
                null::integer, null::integer),
               (ts.admission #>> '{rate,gate}', null, (ts.admission #>> '{rate,limit}')::integer,
                (ts.admission #>> '{rate,per_seconds}')::integer, (ts.admission #>> '{rate,burst}')::integer)
    ) u(name, capacity, rate_limit, rate_seconds, rate_burst)
    where ts.template_id = p_template_id and u.name is not null
    group by u.name
    order by u.name
    on conflict (namespace, name) do update
    set capacity = coalesce(excluded.capacity, g.capacity), rate_limit = coalesce(excluded.rate_limit, g.rate_limit),
        rate_seconds = coalesce(excluded.rate_seconds, g.rate_seconds),
        rate_burst = coalesce(excluded.rate_burst, g.rate_burst), updated_at = excluded.updated_at
$$;

-- Locks the slots of keys, and creates those that do not exist, in one statement and so in order.
create or replace function tasker.lock_slots(p_gate_ids bigint[], p_keys text[]) returns void
language plpgsql as $$
begin
    insert into tasker.gate_slots as s (gate_id, key)
    select k.gate_id, k.key from unnest(p_gate_ids, p_keys) k(gate_id, key) order by k.gate_id, k.key
    on conflict (gate_id, key) do update set holds = s.holds;
end
$$;

-- Sets when steps that have a rate start. The steps of a key are in the order in which they start.
create or replace function tasker.reserve_rates(p_now timestamptz, p_steps tasker.gated_step[])
returns tasker.gated_step[]
language plpgsql as $$
declare
    v_reserved tasker.gated_step[];
begin
    with step as materialized (
        select u.*, row_number() over (partition by u.rate_gate_id, u.rate_key order by u.nth) as place,
               interval '1 second' * (coalesce(g.own_seconds, g.rate_seconds)::float8 / coalesce(g.own_limit, g.rate_limit))
                   as spacing,
               coalesce(g.own_burst, g.rate_burst) as burst
        from unnest(p_steps) with ordinality
            u(task_id, step_no, gate_id, key, rate_gate_id, rate_key, visible_at, starts_at, nth)
        left join tasker.gates g on g.gate_id = u.rate_gate_id
    ), reserved as (
        insert into tasker.gate_rates as r (gate_id, key, next_at)
        select s.rate_gate_id, s.rate_key, p_now + count(*) * s.spacing
        from step s where s.spacing is not null
        group by s.rate_gate_id, s.rate_key, s.spacing
        order by s.rate_gate_id, s.rate_key
        on conflict (gate_id, key) do update
        set next_at = greatest(r.next_at, p_now) + (excluded.next_at - p_now)
        returning r.gate_id, r.key, r.next_at
    )
    select array_agg((
        s.task_id, s.step_no, s.gate_id, s.key, s.rate_gate_id, s.rate_key, s.visible_at,
        greatest(p_now, r.next_at - (s.total - s.place + s.burst) * s.spacing))::tasker.gated_step order by s.nth)
    into v_reserved
    from (
        select s.*, count(*) over (partition by s.rate_gate_id, s.rate_key) as total from step s
    ) s
    left join reserved r on r.gate_id = s.rate_gate_id and r.key = s.rate_key;
    return v_reserved;
end
$$;

-- Those of some steps that hold slots or reservations, or wait for slots, although they have ended or wait for something
-- else. Without `p_step_nos`, of all steps of the tasks. With it, it looks at steps that ran, which do not wait for slots: a
-- task can have many that do.
create or replace function tasker.gone_steps(p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[])
returns table (task_id uuid, step_no smallint, gate_id bigint, key text)
language sql stable as $$
    select u.task_id, u.step_no, u.gate_id, u.key
    from (
        select h.task_id, h.step_no, h.gate_id, h.key
        from unnest(p_task_ids, p_step_nos) e(task_id, step_no)
        join tasker.gate_holds h on h.task_id = e.task_id and h.step_no = e.step_no
        union all
        select h.task_id, h.step_no, h.gate_id, h.key
        from tasker.gate_holds h where p_step_nos is null and h.task_id = any (p_task_ids)
        union all
        select w.task_id, w.step_no, w.gate_id, w.key
        from tasker.gate_waiters w where p_step_nos is null and w.task_id = any (p_task_ids)
    ) u
    left join tasker.steps s on s.task_id = u.task_id and s.step_no = u.step_no
    where tasker.keeps_slot(s, p_now) is not true
$$;

-- Does all that a call has to do at the gates:
--   p_gate_ids, p_keys  the keys at which something changes, each once
--   p_ended_...         steps that may have to give back their slots, or wait no more, as in `gone_steps`
--   p_arrivals          steps that need a slot and have none, or that only need a rate, in the order of arrival
-- The caller has locked the tasks of ended steps, the steps of `p_arrivals` and the slots of the keys. Free slots go to waiters
-- first, and then to arrivals. Arrivals without a slot become waiters. Returns the arrivals with the times when they start.
-- A bitmap scan would read all waiters of a key.
--
-- Without `p_reserve`, it locks no rates. Waiters that got a slot then reserve their times when their messages are
-- read.
create or replace function tasker.serve_gates(
    p_now timestamptz, p_gate_ids bigint[], p_keys text[], p_ended_tasks uuid[], p_ended_steps smallint[],
    p_arrivals tasker.gated_step[], p_reserve boolean default true
) returns tasker.gated_step[]
language plpgsql set enable_bitmapscan = off as $$
declare
    v_slots tasker.gate_slots[];
    v_granted tasker.gated_step[];
    v_arrived tasker.gated_step[];
    v_starting tasker.gated_step[];
    v_waiters integer;
begin
    -- 1. Give back slots. A step that is gone waits no more, and starts no more when its rate would let it.
    with gone as materialized (
        select g.task_id, g.step_no from tasker.gone_steps(p_now, p_ended_tasks, p_ended_steps) g
    ), freed as (
        delete from tasker.gate_holds h using gone g
        where h.task_id = g.task_id and h.step_no = g.step_no
        returning h.gate_id, h.key
    ), left_early as (
        delete from tasker.gate_waiters w using gone g where w.task_id = g.task_id and w.step_no = g.step_no
    )
    select array_agg((s.gate_id, s.key, s.holds - f.n, s.served)::tasker.gate_slots)
    into v_slots
    from unnest(p_gate_ids, p_keys) k(gate_id, key)
    join tasker.gate_slots s on s.gate_id = k.gate_id and s.key = k.key
    cross join lateral (
        select count(*) as n from freed f where f.gate_id = k.gate_id and f.key = k.key
    ) f;

    -- 2. Pass free slots to waiters.
    with next as materialized (
        select w.*
        from unnest(v_slots) s
        join tasker.gates g on g.gate_id = s.gate_id
        cross join lateral (
            select l.* from tasker.gate_waiters l
            where l.gate_id = s.gate_id and l.key = s.key and l.waiter_id > s.served
            order by l.waiter_id limit greatest(coalesce(g.own_capacity, g.capacity) - s.holds, 0)
        ) w
    ), taken as (
        delete from tasker.gate_waiters w using next n where w.task_id = n.task_id and w.step_no = n.step_no
    )
    select array_agg((n.task_id, n.step_no, n.gate_id, n.key, case when p_reserve then n.rate_gate_id end, n.rate_key,
                      n.visible_at, p_now)::tasker.gated_step order by n.waiter_id),
           (select array_agg((
                s.gate_id, s.key, s.holds + coalesce(m.n, 0), greatest(s.served, m.last))::tasker.gate_slots)
            from unnest(v_slots) s
            left join (
                select l.gate_id, l.key, count(*) as n, max(l.waiter_id) as last from next l group by l.gate_id, l.key
            ) m on m.gate_id = s.gate_id and m.key = s.key)
    into v_granted, v_slots
    from next n;

    -- 3. Let in arrivals. While others wait there is no free slot.
    select array_agg((
        a.task_id, a.step_no, a.gate_id, a.key, a.rate_gate_id, a.rate_key, a.visible_at,
        case when a.gate_id is null or a.place <= coalesce(g.own_capacity, g.capacity) - s.holds then p_now end)
        ::tasker.gated_step order by a.nth)
    into v_arrived
    from (
        select u.*, row_number() over (partition by u.gate_id, u.key order by u.nth) as place
        from unnest(p_arrivals) with ordinality
            u(task_id, step_no, gate_id, key, rate_gate_id, rate_key, visible_at, starts_at, nth)
    ) a
    left join tasker.gates g on g.gate_id = a.gate_id
    left join unnest(v_slots) s on s.gate_id = a.gate_id and s.key = a.key;
    insert into tasker.gate_waiters (task_id, step_no, gate_id, key, since, visible_at, rate_gate_id, rate_key)
    select a.task_id, a.step_no, a.gate_id, a.key, p_now, a.visible_at, a.rate_gate_id, a.rate_key
    from unnest(v_arrived) with ordinality
        a(task_id, step_no, gate_id, key, rate_gate_id, rate_key, visible_at, starts_at, nth)
    where a.starts_at is null order by a.nth
    on conflict do nothing;

    update tasker.gate_slots s
    set holds = n.holds, served = n.served
    from (
        select v.gate_id, v.key, v.served, v.holds + (
                   select count(*) from unnest(v_arrived) a
                   where a.gate_id = v.gate_id and a.key = v.key and a.starts_at is not null) as holds
        from unnest(v_slots) v
    ) n
    where s.gate_id = n.gate_id and s.key = n.key and (s.holds <> n.holds or s.served <> n.served);

    -- 4. Reserve times, and record holds.
    v_waiters := coalesce(cardinality(v_granted), 0);
    v_starting := v_granted || array(select a from unnest(v_arrived) a where a.starts_at is not null);
    if exists (select from unnest(v_starting) s where s.rate_gate_id is not null) then
        v_starting := tasker.reserve_rates(p_now, v_starting);
    end if;
    insert into tasker.gate_holds (task_id, step_no, gate_id, key, held_at, starts_at)
    select s.task_id, s.step_no, s.gate_id, s.key, p_now, m.starts_at
    from unnest(v_starting) with ordinality
        s(task_id, step_no, gate_id, key, rate_gate_id, rate_key, visible_at, starts_at, nth)
    -- An arrival whose time is now starts in this call.
    cross join lateral (
        select case when s.rate_gate_id is not null and (s.nth <= v_waiters or s.starts_at > p_now)
                    then s.starts_at end as starts_at
    ) m
    where s.gate_id is not null or m.starts_at is not null
    order by s.task_id, s.step_no
    -- A step that holds its slot, and has a rate to keep again.
    on conflict (task_id, step_no) do update set starts_at = excluded.starts_at;

    -- 5. Send the messages of waiters that got a slot.
    if v_waiters > 0 then
        perform tasker.enqueue(
            array_agg(g.namespace), array_agg(s.task_id), array_agg(s.step_no),
            array_agg(case when s.starts_at > p_now then s.starts_at else s.visible_at end))
        from unnest(v_starting[1:v_waiters]) s
        join tasker.gates g on g.gate_id = s.gate_id;
    end if;
    return v_starting[v_waiters + 1:] || array(select a from unnest(v_arrived) a where a.starts_at is null);
end
$$;

-- Gives back the slots of steps that have ended or wait for something else, and passes them on. `p_step_nos` is that of
-- `gone_steps`, and `p_reserve` that of `serve_gates`. The caller has locked the tasks. It is the last thing that a
-- call does.
create or replace function tasker.release_gates(
    p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[] default null, p_reserve boolean default true
) returns void
language plpgsql as $$
declare
    v_gate_ids bigint[];
    v_keys text[];
    v_gone bigint;
begin
    select array_agg(k.gate_id) filter (where k.gate_id is not null), array_agg(k.key) filter (where k.gate_id is not null),
           count(*)
    into v_gate_ids, v_keys, v_gone
    from (select distinct g.gate_id, g.key from tasker.gone_steps(p_now, p_task_ids, p_step_nos) g) k;
    if v_gone > 0 then
        perform tasker.lock_slots(v_gate_ids, v_keys);
        perform tasker.serve_gates(p_now, v_gate_ids, v_keys, p_task_ids, p_step_nos, '{}', p_reserve);
    end if;
end
$$;

-- Decides about the steps of messages whose action is 'gate', and releases the slots of those whose action has ended them.
-- Returns all steps. The action 'gate' becomes one of these:
--   start  the step starts
--   spawn  the step starts its child task
--   queue  the step waits for a slot, and its message must be deleted
--   defer  the rate lets the step start at `due_at`
create or replace function tasker.pass_gates(p_now timestamptz, p_steps tasker.read_step[]) returns tasker.read_step[]
language plpgsql as $$
declare
    v_gated tasker.gated_step[];
    v_arrived tasker.gated_step[];
    v_gate_ids bigint[];
    v_keys text[];
    v_gone bigint;
    v_ended_tasks uuid[];
    v_ended_steps smallint[];
    v_steps tasker.read_step[];
begin
    select array_agg((
        m.task_id, m.step_no, c.gate_id,
        case when c.gate_id is not null then coalesce(tasker.gate_key(t.context, ts.admission -> 'concurrency'), '') end,
        r.gate_id, case when r.gate_id is not null then coalesce(tasker.gate_key(t.context, ts.admission -> 'rate'), '') end,
        m.visible_at, null)::tasker.gated_step order by m.visible_at, m.task_id, m.step_no)
    into v_gated
    from unnest(p_steps) m
    cross join lateral (
        select l.* from tasker.steps l where l.task_id = m.task_id and l.step_no = m.step_no offset 0
    ) s
    join tasker.tasks t on t.task_id = m.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    left join tasker.gates c on c.namespace = t.namespace and c.name = ts.admission #>> '{concurrency,gate}'
    left join tasker.gates r on r.namespace = t.namespace and r.name = ts.admission #>> '{rate,gate}'
    where m.action = 'gate';
    select coalesce(array_agg(m.task_id), '{}'), coalesce(array_agg(m.step_no), '{}') into v_ended_tasks, v_ended_steps
    from unnest(p_steps) m where m.action in ('exhaust', 'child', 'fail', 'skip');
    select array_agg(k.gate_id) filter (where k.gate_id is not null), array_agg(k.key) filter (where k.gate_id is not null),
           coalesce(sum(k.gone), 0)
    into v_gate_ids, v_keys, v_gone
    from (
        select u.gate_id, u.key, sum(u.gone) as gone
        from (
            select g.gate_id, g.key, 0 as gone from unnest(v_gated) g
            union all
            select e.gate_id, e.key, 1 from tasker.gone_steps(p_now, v_ended_tasks, v_ended_steps) e
        ) u
        group by u.gate_id, u.key
    ) k;
    if v_gated is null and v_gone = 0 then
        return p_steps;
    end if;
    perform tasker.lock_slots(v_gate_ids, v_keys);

    -- Under the locks, so that a slot that another call has just passed on is found. A step that has its slot needs only a
    -- reservation, and none if it has one. Nothing but its slot keeps an attempt back that follows another one.
    v_arrived := tasker.serve_gates(p_now, v_gate_ids, v_keys, v_ended_tasks, v_ended_steps, array(
        select (g.task_id, g.step_no, n.gate_id, case when n.gate_id is not null then g.key end, g.rate_gate_id, g.rate_key,
                g.visible_at, null)::tasker.gated_step
        from unnest(v_gated) with ordinality
            g(task_id, step_no, gate_id, key, rate_gate_id, rate_key, visible_at, starts_at, nth)
        join tasker.steps s on s.task_id = g.task_id and s.step_no = g.step_no
        left join tasker.gate_holds h on h.task_id = g.task_id and h.step_no = g.step_no
        left join tasker.gate_waiters w on w.task_id = g.task_id and w.step_no = g.step_no
        cross join lateral (
            select case when h.task_id is null and s.state in ('enqueued', 'waiting') then g.gate_id end as gate_id
        ) n
        where w.task_id is null and (n.gate_id is not null or g.rate_gate_id is not null and h.starts_at is null)
        order by g.nth));

    select array_agg((
        m.namespace, m.msg_id, m.visible_at, m.task_id, m.step_no,
        case
            when m.action <> 'gate' then m.action
            when d.starts_at > p_now then 'defer'
            when d.starts_at is null then 'queue'
            when d.has_child then 'spawn'
            else 'start'
        end, m.state, m.attempts, case when m.action = 'gate' then d.starts_at else m.due_at end, m.worker_id)
        ::tasker.read_step)
    into v_steps
    from unnest(p_steps) m
    left join lateral (
        select case when a.task_id is not null then a.starts_at
                    when w.task_id is null then greatest(h.starts_at, p_now) end as starts_at,
               exists (
                   select from tasker.tasks t
                   join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = m.step_no
                   where t.task_id = m.task_id and ts.admission ? 'task') as has_child
        from (select) one
        left join unnest(v_arrived) a on a.task_id = m.task_id and a.step_no = m.step_no
        left join tasker.gate_holds h on h.task_id = m.task_id and h.step_no = m.step_no
        left join tasker.gate_waiters w on w.task_id = m.task_id and w.step_no = m.step_no
        where m.action = 'gate'
    ) d on true;

    -- Reservations of steps that start now are used.
    delete from tasker.gate_holds h using unnest(v_steps) m
    where m.action in ('start', 'spawn') and h.task_id = m.task_id and h.step_no = m.step_no and h.gate_id is null;
    update tasker.gate_holds h set starts_at = null from unnest(v_steps) m
    where m.action in ('start', 'spawn') and h.task_id = m.task_id and h.step_no = m.step_no and h.starts_at is not null;
    -- A step that has waited for something else, and now waits for a slot.
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
    select m.task_id, p_now, m.step_no, 'waiting', 'enqueued'
    from unnest(v_steps) m where m.action = 'queue' and m.state = 'waiting';
    if found then
        update tasker.steps s
        set state = 'enqueued', due_at = null, signal = null,
            input = case when s.signal is not null then coalesce(s.input, '{}') || '{"timed_out": true}' else s.input end
        from unnest(v_steps) m
        where m.action = 'queue' and m.state = 'waiting' and s.task_id = m.task_id and s.step_no = m.step_no;
    end if;
    return v_steps;
end
$$;

-- Releases holds of steps that have ended, of up to `p_limit` tasks. There are none, unless somebody changed rows by hand.
-- A slot that nobody gives back would keep others out forever. Returns how many tasks had some.
create or replace function tasker.release_lost_holds(p_limit integer) returns integer
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
    v_tasks uuid[] := array(
        select distinct h.task_id
        from tasker.gate_holds h
        left join tasker.steps s on s.task_id = h.task_id and s.step_no = h.step_no
        where tasker.keeps_slot(s, v_now) is not true
        limit p_limit);
begin
    perform from tasker.tasks t where t.task_id = any (v_tasks) order by t.task_id for update;
    perform tasker.release_gates(v_now, v_tasks);
    return cardinality(v_tasks);
end
$$;

-- Passes free slots to waiters at up to `p_limit` keys of a gate, or of all gates (null): a limit was raised, or somebody
-- changed rows by hand. Counts the holds of these keys anew. Returns how many keys.
create or replace function tasker.admit_waiters(p_gate_id bigint, p_limit integer) returns integer
language plpgsql as $$
declare
    v_gate_ids bigint[];
    v_keys text[];
begin
    select coalesce(array_agg(k.gate_id), '{}'), coalesce(array_agg(k.key), '{}') into v_gate_ids, v_keys
    from (
        -- The keys with waiters, each by one look at the index.
        with recursive waiting as (
            (select w.gate_id, w.key from tasker.gate_waiters w
             where w.gate_id >= coalesce(p_gate_id, 0) order by w.gate_id, w.key limit 1)
            union all
            select n.gate_id, n.key
            from waiting k
            cross join lateral (
                select w.gate_id, w.key from tasker.gate_waiters w
                where (w.gate_id, w.key) > (k.gate_id, k.key) order by w.gate_id, w.key limit 1
            ) n
            where p_gate_id is null or n.gate_id = p_gate_id
        )
        select k.gate_id, k.key
        from waiting k
        join tasker.gates g on g.gate_id = k.gate_id
        cross join lateral (
            select count(*) as holds from tasker.gate_holds h where h.gate_id = k.gate_id and h.key = k.key
        ) h
        where h.holds < coalesce(g.own_capacity, g.capacity) and (p_gate_id is null or k.gate_id = p_gate_id)
        limit p_limit
    ) k;
    perform tasker.lock_slots(v_gate_ids, v_keys);
    update tasker.gate_slots s
    set served = 0, holds = (
        select count(*) from tasker.gate_holds h where h.gate_id = s.gate_id and h.key = s.key)
    where (s.gate_id, s.key) in (select k.* from unnest(v_gate_ids, v_keys) k);
    perform tasker.serve_gates(tasker.now(), v_gate_ids, v_keys, '{}', '{}', '{}');
    return cardinality(v_gate_ids);
end
$$;

-- Deletes rows of keys that are not in use, up to `p_limit` of each kind.
create or replace function tasker.forget_keys(p_limit integer) returns void
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
begin
    delete from tasker.gate_slots s
    where s.holds = 0 and (s.gate_id, s.key) in (
        select l.gate_id, l.key from tasker.gate_slots l
        where l.holds = 0 and not exists (
            select from tasker.gate_waiters w where w.gate_id = l.gate_id and w.key = l.key)
        limit p_limit for update skip locked);
    delete from tasker.gate_rates r
    where r.next_at < v_now and (r.gate_id, r.key) in (
        select l.gate_id, l.key from tasker.gate_rates l where l.next_at < v_now limit p_limit for update skip locked);
end
$$;

-- Gates of namespaces (null: all), or one of them (`p_name`), with how many steps hold slots and wait, up to `p_limit`.
create or replace function tasker.list_gates(p_namespaces text[], p_name text, p_limit integer)
returns table (gate tasker.gates, holds bigint, waiters bigint)
language sql stable as $$
    select g, h.n, w.n
    from tasker.gates g
    cross join lateral (
        select count(*) as n from (select from tasker.gate_holds l where l.gate_id = g.gate_id limit p_limit) l
    ) h
    cross join lateral (
        select count(*) as n from (select from tasker.gate_waiters l where l.gate_id = g.gate_id limit p_limit) l
    ) w
    where (p_namespaces is null or g.namespace = any (p_namespaces)) and (p_name is null or g.name = p_name)
    order by g.namespace, g.name
$$;

-- Steps that hold slots of a gate, up to `p_limit`, in the order of their keys.
create or replace function tasker.gate_holders(p_gate_id bigint, p_limit integer)
returns table (key text, task_id uuid, step text, held_at timestamptz)
language sql stable as $$
    select h.key, h.task_id, coalesce(s.name, ts.name), h.held_at
    from (
        select * from tasker.gate_holds l where l.gate_id = p_gate_id order by l.gate_id, l.key limit p_limit
    ) h
    join tasker.tasks t on t.task_id = h.task_id
    cross join lateral (
        select l.* from tasker.steps l where l.task_id = h.task_id and l.step_no = h.step_no offset 0
    ) s
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    order by h.key, h.held_at
$$;

-- Sets limits of a gate that replace those of templates, where `p_set_capacity` and `p_set_rate` say so. A capacity
-- that is null removes what an operator has set, and so does a rate of which all parts are null. Otherwise a part that
-- is null keeps the value that counts now. Steps that wait get the slots that are free now. Outcomes:
--   done       the limits are set
--   not_found  there is no such gate
--   no_rate    the gate has no rate of which a part could stay
--   burst      `p_burst` is above the limit that stays
create or replace function tasker.change_gate(
    p_namespace text, p_name text, p_set_capacity boolean, p_capacity integer, p_set_rate boolean, p_limit integer,
    p_seconds integer, p_burst integer
) returns text
language plpgsql as $$
declare
    v_gate tasker.gates;
    v_limit integer;
    v_seconds integer;
    v_burst integer;
begin
    select g.* into v_gate from tasker.gates g where g.namespace = p_namespace and g.name = p_name for no key update;
    if not found then
        return 'not_found';
    end if;
    if num_nonnulls(p_limit, p_seconds, p_burst) > 0 then
        v_limit := coalesce(p_limit, v_gate.own_limit, v_gate.rate_limit);
        v_seconds := coalesce(p_seconds, v_gate.own_seconds, v_gate.rate_seconds);
        v_burst := coalesce(p_burst, least(coalesce(v_gate.own_burst, v_gate.rate_burst, v_limit), v_limit));
        if v_limit is null or v_seconds is null then
            return 'no_rate';
        elsif v_burst > v_limit then
            return 'burst';
        end if;
    end if;
    update tasker.gates g
    set own_capacity = case when p_set_capacity then p_capacity else g.own_capacity end,
        own_limit = case when p_set_rate then v_limit else g.own_limit end,
        own_seconds = case when p_set_rate then v_seconds else g.own_seconds end,
        own_burst = case when p_set_rate then v_burst else g.own_burst end,
        updated_at = tasker.now()
    where g.gate_id = v_gate.gate_id;
    perform tasker.admit_waiters(v_gate.gate_id, 1000);
    return 'done';
end
$$;

-- The gate at which an enqueued step waits for a slot, with its key, its place in the order (up to `p_limit`), and how many
-- hold a slot of how many; or the gate whose rate lets it start at `starts_at`. No row if it waits for neither.
create or replace function tasker.explain_gate(p_task_id uuid, p_step text, p_limit integer)
returns table (
    gate text, key text, place bigint, holds integer, capacity integer, starts_at timestamptz
)
language sql stable as $$
    select g.name, w.key, p.n + 1, sl.holds, coalesce(g.own_capacity, g.capacity), null::timestamptz
    from tasker.tasks t
    join tasker.steps s on s.task_id = t.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    join tasker.gate_waiters w on w.task_id = s.task_id and w.step_no = s.step_no
    join tasker.gates g on g.gate_id = w.gate_id
    left join tasker.gate_slots sl on sl.gate_id = w.gate_id and sl.key = w.key
    cross join lateral (
        select count(*) as n from (
            select from tasker.gate_waiters o
            where o.gate_id = w.gate_id and o.key = w.key and o.waiter_id < w.waiter_id limit p_limit) o
    ) p
    where t.task_id = p_task_id and coalesce(s.name, ts.name) = p_step
    union all
    select ts.admission #>> '{rate,gate}', tasker.gate_key(t.context, ts.admission -> 'rate'), null, null, null, h.starts_at
    from tasker.tasks t
    join tasker.steps s on s.task_id = t.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    join tasker.gate_holds h on h.task_id = s.task_id and h.step_no = s.step_no
    where t.task_id = p_task_id and coalesce(s.name, ts.name) = p_step and h.starts_at > tasker.now()
$$;
