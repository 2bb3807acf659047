-- Recording results and extending leases.

-- Records a batch of results. A result is accepted only with the token of the lease that holds the step. The
-- worker may be handed up to `p_take` steps of `p_namespaces` that this made ready.
--
-- `refused` holds the positions, from 1, of the results that were not accepted: the lease expired and another
-- worker holds the step, or an operator cancelled or resolved it. `handed` holds the steps that the worker
-- must run next.
--
-- There are two ways. A single result of the common kind goes the short way, by key. All others go in sets: to
-- start such a statement costs more than the whole short way, but it serves a whole batch. A test does
-- everything both ways and compares all tables.
create or replace function tasker.complete_steps(
    p_worker_id text, p_namespaces text[], p_take integer, p_lease interval, p_results tasker.step_result[],
    out refused integer[], out handed tasker.leased_step[]
)
language plpgsql as $$
begin
    if cardinality(p_results) = 1 and tasker.short_way() then
        select c.refused, c.handed into refused, handed
        from tasker.complete_step(p_worker_id, p_namespaces, p_take, p_lease, p_results[1]) c;
    end if;
    if refused is null then
        select c.refused, c.handed into refused, handed
        from tasker.complete_batch(p_worker_id, p_namespaces, p_take, p_lease, p_results) c;
    end if;
end
$$;

-- Records the result of a completed step that has at most one dependent, in a workflow of a fixed shape. The message
-- moves on to the dependent. For any other result it changes nothing and returns null.
create or replace function tasker.complete_step(
    p_worker_id text, p_namespaces text[], p_take integer, p_lease interval, r tasker.step_result,
    out refused integer[], out handed tasker.leased_step[]
)
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
    t record;
    v_state tasker.state;
    v_attempt smallint;
    v_ready boolean := false;
    v_token uuid;
    v_moved boolean;
    v_msg_id bigint := r.msg_id;
begin
    select d.*, case when d.hand then v_now + p_lease else v_now - d.priority * interval '10 seconds' end as visible_at
    into t
    from (
        select tt.template_id, tt.namespace, tt.context, tt.traceparent, tt.parent_task_id, tt.state, tt.priority,
               ts.dependents[1] as next,
               p_take > 0 and tt.namespace = any (p_namespaces) and not exists (
                   select from tasker.namespaces n where n.namespace = tt.namespace and n.paused_at is not null) as hand
        from tasker.tasks tt
        join tasker.template_steps ts on ts.template_id = tt.template_id and ts.step_no = r.step_no
        where tt.task_id = r.task_id and r.outcome = 'completed' and cardinality(ts.dependents) <= 1 and tt.plain
        for update of tt
    ) d;
    if not found then
        return;
    end if;
    handed := '{}';

    update tasker.steps s
    set state = 'completed', token = null, due_at = null, completed_at = v_now, result = coalesce(r.payload, 'null'),
        error = null
    where s.task_id = r.task_id and s.step_no = r.step_no and s.token = r.token
    returning s.attempts into v_attempt;
    if not found then
        refused := '{1}';
        return;
    end if;
    refused := '{}';

    if t.next is not null then
        update tasker.steps s
        set pending_dependencies = s.pending_dependencies - 1,
            state = case when s.pending_dependencies > 1 then s.state when t.hand then 'in_progress' else 'enqueued' end,
            attempts = case when s.pending_dependencies = 1 and t.hand then s.attempts + 1 else s.attempts end,
            token = case when s.pending_dependencies = 1 and t.hand then gen_random_uuid() end,
            due_at = case when s.pending_dependencies = 1 and t.hand then v_now + p_lease end,
            started_at = case when s.pending_dependencies = 1 and t.hand then v_now end,
            worker_id = case when s.pending_dependencies = 1 and t.hand then p_worker_id end
        where s.task_id = r.task_id and s.step_no = t.next and s.state = 'pending'
        returning s.pending_dependencies = 0, s.token into v_ready, v_token;
    end if;

    if v_ready then
        execute format('select tasker_queues.%I($1, $2, $3)', tasker.queue_function('move', t.namespace))
        into v_moved using r, t.next, t.visible_at;
        if not v_moved then
            select q.msg_id into v_msg_id
            from tasker.enqueue(array[t.namespace], array[r.task_id], array[t.next], array[t.visible_at]) q;
        elsif not t.hand then
            perform tasker.wake(t.namespace, array[t.visible_at]);
        end if;
    else
        perform tasker.delete_messages(array[r.namespace], array[r.msg_id], array[r.task_id], array[r.step_no]);
    end if;

    update tasker.tasks tt
    set completed_steps = tt.completed_steps + 1,
        active_steps = tt.active_steps - 1 + (v_ready is true)::integer,
        state = tasker.task_state(
            tt.completed_steps + 1, tt.total_steps, tt.active_steps - 1 + (v_ready is true)::integer, tt.failed_steps),
        completed_at = case when tt.completed_steps + 1 = tt.total_steps then v_now end
    where tt.task_id = r.task_id
    returning tt.state into v_state;
    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor)
    select r.task_id, v_now, r.step_no, v_attempt, 'in_progress'::tasker.state, 'completed'::tasker.state, p_worker_id
    union all
    select r.task_id, v_now, t.next, case when t.hand then 1::smallint end, 'pending',
           (case when t.hand then 'in_progress' else 'enqueued' end)::tasker.state, case when t.hand then p_worker_id end
    where v_ready
    union all
    select r.task_id, v_now, null, null, t.state, v_state, null where v_state <> t.state;
    if v_state <> t.state and v_state <> 'in_progress' then
        perform tasker.announce(array[r.task_id]);
        if t.parent_task_id is not null and v_state = 'completed' then
            perform tasker.wake_parents(v_now, array[r.task_id]);
        end if;
    end if;

    if v_ready and t.hand then
        handed := array[tasker.leased_step(
            r.task_id, t.next, v_token, v_msg_id, t.namespace, t.template_id, t.context, 1::smallint, null, null,
            t.traceparent)];
    end if;
end
$$;

-- Records any batch of results.
create or replace function tasker.complete_batch(
    p_worker_id text, p_namespaces text[], p_take integer, p_lease interval, p_results tasker.step_result[],
    out refused integer[], out handed tasker.leased_step[]
)
language plpgsql
as $$
declare
    v_now timestamptz := tasker.now();
    v_accepted tasker.accepted_result[];
    v_waiting tasker.accepted_result[];
    v_deferred text[];
    v_handed_tasks uuid[];
    v_handed_steps smallint[];
    v_handed_msgs bigint[];
    v_plain boolean;
begin
    select bool_and(l.plain) into v_plain
    from (
        select t.plain from tasker.tasks t
        where t.task_id = any (array(select r.task_id from unnest(p_results) r)) order by t.task_id for update
    ) l;
    if not v_plain then
        p_results := tasker.checked_results(p_results);
    end if;

    -- 1. Decide which results are accepted and how they change their steps.
    with accepted as materialized (
        select r.namespace, r.msg_id, r.task_id, r.step_no, r.token, s.attempts,
            (case
                when r.outcome = 'completed' then 'completed'
                when r.outcome = 'released' then 'enqueued'
                when r.outcome = 'waiting' then case when g.name is null then 'waiting' else 'enqueued' end
                when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts then 'waiting_for_retry'
                when r.outcome in ('retryable_error', 'permanent_error') then 'failed'
            end)::tasker.state as state,
            case
                when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts
                then v_now + coalesce(
                    tasker.requested_delay(r.payload),
                    tasker.backoff_delay(ts.backoff, ts.backoff_base_ms, ts.max_backoff_ms, s.attempts))
                when r.outcome = 'waiting' and g.name is null then v_now + tasker.requested_wait(r.payload)
            end as due_at,
            r.payload, r.outcome, g.payload as signal
        from (
            select distinct on (u.task_id, u.step_no, u.token) u.*
            from unnest(p_results) with ordinality u(namespace, msg_id, task_id, step_no, token, outcome, payload, nth)
            order by u.task_id, u.step_no, u.token, u.nth
        ) r
        join lateral (
            select * from tasker.steps l where l.task_id = r.task_id and l.step_no = r.step_no for update
        ) s on s.token = r.token
        left join lateral (
            select l.*
            from tasker.tasks t
            join tasker.template_steps l
                on l.template_id = t.template_id and l.step_no = coalesce(s.definition, r.step_no)
            where t.task_id = r.task_id and r.outcome = 'retryable_error'
        ) ts on true
        left join tasker.signals g
            on r.outcome = 'waiting' and g.task_id = r.task_id and g.name = r.payload ->> 'signal'
    ), recorded as (
        update tasker.steps s
        set state = a.state, token = null, due_at = a.due_at,
            attempts = s.attempts - (a.state = 'enqueued' or a.state = 'waiting')::integer,
            signal = case when a.state = 'waiting' then a.payload ->> 'signal' end,
            input = case
                when a.state = 'enqueued' or a.state = 'waiting'
                    then tasker.next_part(
                        case when a.outcome = 'waiting' then tasker.resumed_input(s.input, a.payload, a.signal)
                             else s.input end, s.attempts)
                else s.input end,
            completed_at = case when a.state = 'completed' or a.state = 'failed' then v_now end,
            result = case when a.state = 'completed' then coalesce(a.payload, 'null') end,
            error = case when a.state = 'waiting_for_retry' or a.state = 'failed' then a.payload end
        from accepted a
        where s.task_id = a.task_id and s.step_no = a.step_no
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason, error_kind)
        select a.task_id, v_now, a.step_no, a.attempts, 'in_progress', a.state, p_worker_id,
               case when a.state = 'waiting_for_retry' or a.state = 'failed' then left(a.payload ->> 'message', 1000)
                    when a.outcome = 'released' then 'released by the worker' end,
               case when a.state = 'waiting_for_retry' or a.state = 'failed' then left(a.payload ->> 'kind', 100) end
        from accepted a
    )
    select array_agg((a.namespace, a.msg_id, a.task_id, a.step_no, a.token, a.state, a.due_at)::tasker.accepted_result)
    into v_accepted
    from accepted a;

    if v_accepted is not null then
        -- 2. Delete or defer their messages.
        perform tasker.delete_messages(
            array_agg(a.namespace), array_agg(a.msg_id), array_agg(a.task_id), array_agg(a.step_no))
        from unnest(v_accepted) a
        where a.state = 'completed' or a.state = 'failed' or a.state = 'waiting' and a.due_at is null;
        v_waiting := array(
            select a from unnest(v_accepted) a
            where a.state = 'enqueued' or a.state = 'waiting_for_retry' or a.state = 'waiting' and a.due_at is not null);
        if v_waiting <> '{}' then
            select array_agg(d.task_id || ' ' || d.step_no) into v_deferred
            from tasker.defer_messages(
                array(select w.namespace from unnest(v_waiting) w), array(select w.msg_id from unnest(v_waiting) w),
                array(select w.task_id from unnest(v_waiting) w), array(select w.step_no from unnest(v_waiting) w),
                array(select coalesce(w.due_at, v_now) from unnest(v_waiting) w)) d;
            -- A message that could not be set gets a second one, so that the step does not wait for the end
            -- of the lease. An extra message does no harm.
            perform tasker.enqueue(
                array_agg(w.namespace), array_agg(w.task_id), array_agg(w.step_no),
                array_agg(coalesce(w.due_at, v_now)))
            from unnest(v_waiting) w
            where (w.task_id || ' ' || w.step_no = any (v_deferred)) is not true;
        end if;

        -- 3. Advance their tasks. The worker may be handed dependents.
        select array_agg(d.task_id), array_agg(d.step_no), array_agg(d.msg_id)
        into v_handed_tasks, v_handed_steps, v_handed_msgs
        from tasker.advance_tasks(v_now,
            array(select a.task_id from unnest(v_accepted) a), array(select a.step_no from unnest(v_accepted) a),
            array(select (a.state = 'completed')::integer from unnest(v_accepted) a),
            array(select (a.state = 'failed')::integer from unnest(v_accepted) a),
            array(select -(a.state = 'completed' or a.state = 'failed')::integer from unnest(v_accepted) a),
            null, null, p_worker_id, p_namespaces, p_take, p_lease) d;
        if not v_plain then
            perform tasker.release_gates(v_now, array_agg(a.task_id), array_agg(a.step_no))
            from unnest(v_accepted) a where a.state in ('completed', 'failed', 'waiting');
        end if;
    end if;

    refused := '{}';
    if cardinality(v_accepted) is distinct from cardinality(p_results) then
        refused := array(
            select r.nth::integer
            from unnest(p_results) with ordinality r(namespace, msg_id, task_id, step_no, token, outcome, payload, nth)
            where not exists (
                select from unnest(v_accepted) a
                where a.task_id = r.task_id and a.step_no = r.step_no and a.token = r.token)
            order by r.nth);
    end if;
    handed := '{}';
    if v_handed_tasks is not null then
        handed := array(select d from tasker.leased_steps(v_handed_tasks, v_handed_steps, v_handed_msgs, null) d);
    end if;
end
$$;

-- The delay that a handler asks for in its error, `retry_after_ms`, up to seven days. Null if it asks for none.
create or replace function tasker.requested_delay(p_error jsonb) returns interval
language sql immutable
return case when jsonb_typeof(p_error -> 'retry_after_ms') = 'number'
    then greatest(least((p_error ->> 'retry_after_ms')::numeric, 604800000), 0)::float8 * interval '1 millisecond' end;

-- How long a handler waits: `delay_ms` of its outcome. It waits for the signal only if it names just that, and not at all
-- if it names nothing.
create or replace function tasker.requested_wait(p_wait jsonb) returns interval
language sql immutable
return case
    when jsonb_typeof(p_wait -> 'delay_ms') = 'number'
        then greatest((p_wait ->> 'delay_ms')::numeric, 0)::float8 * interval '1 millisecond'
    when p_wait ->> 'signal' is null then interval '0'
end;

-- What the next attempt of a step receives after its handler waited.
create or replace function tasker.resumed_input(p_input jsonb, p_wait jsonb, p_signal jsonb) returns jsonb
language sql immutable
return (coalesce(p_input, '{}') - '{signal,timed_out}'::text[])
    || case when p_wait ? 'checkpoint' then jsonb_build_object('checkpoint', p_wait -> 'checkpoint') else '{}' end
    || case when p_signal is not null then jsonb_build_object('signal', p_signal) else '{}' end;

-- The input of a step that begins again with the attempt `p_attempt`, because it waited or was released. `part` has how
-- often that was, and the number of the attempt. In traces, it tells these attempts apart.
create or replace function tasker.next_part(p_input jsonb, p_attempt smallint) returns jsonb
language sql immutable
return coalesce(p_input, '{}') || jsonb_build_object('part', jsonb_build_object(
    'number', coalesce((p_input #>> '{part,number}')::integer, 0) + 1, 'attempt', p_attempt));

-- Extends the leases of steps that a worker still runs. A lease ends ten seconds after the step's timeout at
-- the latest, so a worker that hangs cannot keep a step forever.
--
-- Returns the positions, from 1, of the steps that the worker still holds. It has lost the others, and their
-- results will be refused.
create or replace function tasker.extend_leases(p_lease interval, p_steps tasker.step_ref[]) returns setof integer
language plpgsql
as $$
declare
    v_now timestamptz := tasker.now();
    v_positions integer[];
    v_held tasker.step_ref[];
    v_due_at timestamptz[];
begin
    perform set_config('synchronous_commit', 'off', true);

    select array_agg(r.nth::integer),
           array_agg((r.namespace, r.msg_id, r.task_id, r.step_no, r.token)::tasker.step_ref),
           array_agg(least(
               v_now + p_lease,
               s.started_at + ts.timeout_seconds * interval '1 second' + interval '10 seconds'))
    into v_positions, v_held, v_due_at
    from (
        select u.* from unnest(p_steps) with ordinality u(namespace, msg_id, task_id, step_no, token, nth)
        order by u.task_id, u.step_no
    ) r
    join lateral (
        select * from tasker.steps l where l.task_id = r.task_id and l.step_no = r.step_no for update
    ) s on s.token = r.token
    join tasker.tasks t on t.task_id = r.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, r.step_no);

    update tasker.steps s set due_at = h.due_at
    from unnest(v_held, v_due_at) h(namespace, msg_id, task_id, step_no, token, due_at)
    where s.task_id = h.task_id and s.step_no = h.step_no;

    perform tasker.defer_messages(
        array_agg(h.namespace), array_agg(h.msg_id), array_agg(h.task_id), array_agg(h.step_no), array_agg(h.due_at))
    from unnest(v_held, v_due_at) h(namespace, msg_id, task_id, step_no, token, due_at);

    return query select unnest(v_positions);
end
$$;
