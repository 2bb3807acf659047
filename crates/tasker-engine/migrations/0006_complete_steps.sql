-- Recording results, and keeping leases.

-- How long a step waits after its `p_attempt`th attempt failed: exponential (base, 2 base, 4 base, ...),
-- linear (base, 2 base, 3 base, ...) or fixed, up to the maximum; then less up to a quarter, at random, so that
-- steps that failed together do not all come back together.
create function tasker.backoff_delay(p_backoff text, p_base_ms bigint, p_max_ms bigint, p_attempt integer)
returns interval
language sql volatile
return least(
    p_max_ms::float8,
    p_base_ms * case p_backoff
        when 'exponential' then power(2::float8, least(p_attempt - 1, 62))
        when 'linear' then p_attempt
        else 1
    end) * (1 - random() / 4) * interval '1 millisecond';

-- Carries on what became of steps to the rest of their (locked) tasks. The arrays have one element per step: whether it was completed
-- (or resolved), and what that adds to the task's counters of failed and of active steps.
--
-- Dependents of completed steps are counted down, and those that wait for nothing more are enqueued. Up to `p_take` of them, if of
-- one of `p_namespaces`, are started for the worker `p_worker_id` at once: their message is hidden for the length of the lease.
-- Tasks that this finishes, blocks or revives change their state; those who wait for tasks hear of the ones that came to rest.
--
-- Returns the steps that were handed to the worker, with their messages.
create function tasker.advance_tasks(
    p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[], p_completed integer[], p_failed integer[], p_active integer[],
    p_actor text default null, p_reason text default null,
    p_worker_id text default null, p_namespaces text[] default '{}', p_take integer default 0, p_lease interval default null
)
returns table (task_id uuid, step_no smallint, msg_id bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_resting uuid[];
    v_namespaces text[];
    v_ready_tasks uuid[];
    v_ready_steps smallint[];
    v_visible_at timestamptz[];
    v_handed boolean[];
    v_queued_tasks uuid[];
    v_queued_steps smallint[];
    v_msg_ids bigint[];
begin
    with changed as materialized (
        select c.task_id, c.step_no, c.completed, c.failed, c.active, t.template_id, t.namespace, t.priority, t.state,
               t.total_steps, t.completed_steps, t.failed_steps, t.active_steps
        from unnest(p_task_ids, p_step_nos, p_completed, p_failed, p_active) c(task_id, step_no, completed, failed, active)
        join tasker.tasks t on t.task_id = c.task_id
    ), counted as (
        update tasker.steps s
        set pending_dependencies = n.left_over,
            state = case when n.left_over > 0 then s.state when n.handed then 'in_progress' else 'enqueued' end,
            attempts = s.attempts + n.handed::integer,
            token = case when n.handed then gen_random_uuid() end,
            due_at = case when n.handed then p_now + p_lease end,
            started_at = case when n.handed then p_now end,
            worker_id = case when n.handed then p_worker_id end
        from (
            select d.*, d.ready and p_take >= sum(d.ready::integer) over (order by d.task_id, d.step_no) as handed
            from (
                select e.task_id, e.step_no, e.namespace, e.priority, w.pending_dependencies - e.n as left_over,
                       w.pending_dependencies = e.n and e.namespace = any (p_namespaces) as ready
                from (
                    select c.task_id, dep.step_no, c.namespace, c.priority, count(*)::smallint as n
                    from changed c
                    join tasker.template_steps ts on ts.template_id = c.template_id and ts.step_no = c.step_no,
                    unnest(ts.dependents) dep(step_no)
                    where c.completed > 0
                    group by c.task_id, dep.step_no, c.namespace, c.priority
                ) e
                join tasker.steps w on w.task_id = e.task_id and w.step_no = e.step_no
                where w.state = 'pending'
            ) d
        ) n
        where s.task_id = n.task_id and s.step_no = n.step_no
        returning s.task_id, s.step_no, n.namespace, n.left_over, n.handed,
                  case when n.handed then p_now + p_lease else p_now - n.priority * interval '10 seconds' end as visible_at
    ), ready as materialized (
        select c.* from counted c where c.left_over = 0 order by c.task_id, c.step_no
    ), settled as (
        update tasker.tasks t
        set completed_steps = n.completed_steps,
            failed_steps = n.failed_steps,
            active_steps = n.active_steps,
            state = n.state,
            -- Not set yet where an operator resolves a step before any has run.
            started_at = coalesce(t.started_at, p_now),
            completed_at = case when n.state = 'completed' then p_now end
        from (
            select d.*, (case
                       when d.completed_steps = d.total_steps then 'completed'
                       when d.active_steps = 0 and d.failed_steps > 0 then 'blocked_by_failures'
                       else 'in_progress'
                   end)::tasker.state as state
            from (
                select c.task_id, c.state as old_state, c.total_steps,
                       c.completed_steps + sum(c.completed) as completed_steps,
                       c.failed_steps + sum(c.failed) as failed_steps,
                       c.active_steps + sum(c.active)
                           + (select count(*) from ready r where r.task_id = c.task_id) as active_steps
                from changed c
                group by c.task_id, c.state, c.total_steps, c.completed_steps, c.failed_steps, c.active_steps
                -- Steps that only wait for a retry, or were handed back, change nothing.
                having bool_or(c.completed <> 0 or c.failed <> 0)
            ) d
        ) n
        where t.task_id = n.task_id
        returning t.task_id, n.old_state, t.state
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
        select r.task_id, p_now, r.step_no, null::smallint, 'pending'::tasker.state, 'enqueued'::tasker.state, null, null from ready r
        union all
        select r.task_id, p_now, r.step_no, 1, 'enqueued', 'in_progress', p_worker_id, null from ready r where r.handed
        union all
        select t.task_id, p_now, null, null, t.old_state, t.state, p_actor, p_reason from settled t where t.old_state <> t.state
    )
    select array(select t.task_id from settled t where t.old_state <> t.state and t.state <> 'in_progress'),
           array_agg(r.namespace), array_agg(r.task_id), array_agg(r.step_no), array_agg(r.visible_at), array_agg(r.handed)
    into v_resting, v_namespaces, v_ready_tasks, v_ready_steps, v_visible_at, v_handed
    from ready r;

    if v_resting <> '{}' then
        perform tasker.announce(v_resting);
    end if;
    if v_ready_tasks is null then
        return;
    end if;
    -- By itself: a join need not call a function whose rows it could not use.
    select array_agg(q.task_id), array_agg(q.step_no), array_agg(q.msg_id) into v_queued_tasks, v_queued_steps, v_msg_ids
    from tasker.enqueue(v_namespaces, v_ready_tasks, v_ready_steps, v_visible_at) q;
    if true = any (v_handed) then
        return query
        select q.task_id, q.step_no, q.msg_id
        from unnest(v_queued_tasks, v_queued_steps, v_msg_ids) q(task_id, step_no, msg_id)
        join tasker.steps s on s.task_id = q.task_id and s.step_no = q.step_no
        where s.state = 'in_progress';
    end if;
end
$$;

create type tasker.accepted_result as (
    namespace text, msg_id bigint, task_id uuid, step_no smallint, token uuid, state tasker.state, due_at timestamptz
);

-- Records a batch of results; the arrays have one element per result.
--
-- Outcomes: 'completed' (payload: the result), 'retryable_error' and 'permanent_error' (payload: the error, an object with
-- `kind` and `message`), 'released' (the worker hands the step back without having run it: the attempt does not count).
-- A result counts only with the token of the lease that holds the step. The worker may be handed up to `p_take` steps
-- of `p_namespaces` that this made ready.
--
-- Returns one row for each result that was refused, and one for each step handed to the worker.
create function tasker.complete_steps(
    p_worker_id text, p_namespaces text[], p_take integer, p_lease interval,
    p_result_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_tokens uuid[],
    p_outcomes text[], p_payloads jsonb[]
)
returns setof tasker.claimed_step
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
begin
    perform tasker.pin_plans();
    perform from tasker.tasks t where t.task_id = any (p_task_ids) order by t.task_id for update;

    -- 1. Which results count, and what they make of their steps.
    with accepted as materialized (
        select r.namespace, r.msg_id, r.task_id, r.step_no, r.token, s.attempts,
            (case
                when r.outcome = 'completed' then 'completed'
                when r.outcome = 'released' then 'enqueued'
                when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts then 'waiting_for_retry'
                else 'failed'
            end)::tasker.state as state,
            case
                when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts
                then v_now + tasker.backoff_delay(ts.backoff, ts.backoff_base_ms, ts.max_backoff_ms, s.attempts)
            end as due_at,
            r.payload
        from (
            select distinct on (u.task_id, u.step_no, u.token) u.*
            from unnest(p_result_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens, p_outcomes, p_payloads) with ordinality
                u(namespace, msg_id, task_id, step_no, token, outcome, payload, nth)
            order by u.task_id, u.step_no, u.token, u.nth
        ) r
        join lateral (
            select * from tasker.steps l where l.task_id = r.task_id and l.step_no = r.step_no for update
        ) s on s.token = r.token
        left join lateral (
            select l.* from tasker.tasks t join tasker.template_steps l on l.template_id = t.template_id and l.step_no = r.step_no
            where t.task_id = r.task_id and r.outcome = 'retryable_error'
        ) ts on true
    ), recorded as (
        update tasker.steps s
        set state = a.state, token = null, due_at = a.due_at,
            attempts = s.attempts - (a.state = 'enqueued')::integer,
            completed_at = case when a.state = 'completed' or a.state = 'failed' then v_now end,
            result = case when a.state = 'completed' then coalesce(a.payload, 'null') end,
            error = case when a.state = 'waiting_for_retry' or a.state = 'failed' then a.payload end
        from accepted a
        where s.task_id = a.task_id and s.step_no = a.step_no
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
        select a.task_id, v_now, a.step_no, a.attempts, 'in_progress', a.state, p_worker_id,
               case when a.state = 'waiting_for_retry' or a.state = 'failed' then left(a.payload ->> 'message', 1000)
                    when a.state = 'enqueued' then 'handed back' end
        from accepted a
    )
    select array_agg((a.namespace, a.msg_id, a.task_id, a.step_no, a.token, a.state, a.due_at)::tasker.accepted_result)
    into v_accepted
    from accepted a;

    if v_accepted is not null then
        -- 2. Their messages.
        perform tasker.delete_messages(
            array_agg(a.namespace), array_agg(a.msg_id), array_agg(a.task_id), array_agg(a.step_no))
        from unnest(v_accepted) a where a.state = 'completed' or a.state = 'failed';
        if exists (select from unnest(v_accepted) a where a.state = 'enqueued' or a.state = 'waiting_for_retry') then
            v_waiting := array(select a from unnest(v_accepted) a where a.state = 'enqueued' or a.state = 'waiting_for_retry');
            select array_agg(d.task_id || ' ' || d.step_no) into v_deferred
            from tasker.defer_messages(
                array(select w.namespace from unnest(v_waiting) w), array(select w.msg_id from unnest(v_waiting) w),
                array(select w.task_id from unnest(v_waiting) w), array(select w.step_no from unnest(v_waiting) w),
                array(select coalesce(w.due_at, v_now) from unnest(v_waiting) w)) d;
            -- Not to wait for the end of the lease: a message too many does no harm.
            perform tasker.enqueue(array_agg(w.namespace), array_agg(w.task_id), array_agg(w.step_no), array_agg(coalesce(w.due_at, v_now)))
            from unnest(v_waiting) w
            where (w.task_id || ' ' || w.step_no = any (v_deferred)) is not true;
        end if;

        -- 3. Their tasks; the worker may be handed dependents.
        select array_agg(d.task_id), array_agg(d.step_no), array_agg(d.msg_id)
        into v_handed_tasks, v_handed_steps, v_handed_msgs
        from tasker.advance_tasks(v_now,
            array(select a.task_id from unnest(v_accepted) a), array(select a.step_no from unnest(v_accepted) a),
            array(select (a.state = 'completed')::integer from unnest(v_accepted) a),
            array(select (a.state = 'failed')::integer from unnest(v_accepted) a),
            array(select -(a.state = 'completed' or a.state = 'failed')::integer from unnest(v_accepted) a),
            null, null, p_worker_id, p_namespaces, p_take, p_lease) d;
    end if;

    if cardinality(v_accepted) is distinct from cardinality(p_task_ids) then
        return query
        select true, r.task_id, r.step_no, r.token, r.msg_id, r.namespace, null::text, null::text, null::text, null::text,
               null::jsonb, null::jsonb, null::json, null::smallint, null::smallint, null::integer, null::double precision
        from unnest(p_result_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens)
            r(namespace, msg_id, task_id, step_no, token)
        where not exists (
            select from unnest(v_accepted) a
            where a.task_id = r.task_id and a.step_no = r.step_no and a.token = r.token);
    end if;

    if v_handed_tasks is not null then
        return query select d.* from tasker.claimed_steps(v_handed_tasks, v_handed_steps, v_handed_msgs, null) d;
    end if;
end
$$;

-- Extends the leases of steps that a worker still runs; one element per step. A lease ends ten seconds after the
-- step's timeout at the latest, so that a worker that hangs cannot keep a step for ever.
-- Returns the steps that the worker still holds; of the others it must forget the result.
create function tasker.extend_leases(
    p_lease interval, p_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_tokens uuid[]
)
returns table (task_id uuid, step_no smallint)
language plpgsql
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_held tasker.read_step[];
begin
    perform tasker.pin_plans();
    perform set_config('synchronous_commit', 'off', true);

    select array_agg((r.namespace, r.msg_id, null, r.task_id, r.step_no, null, s.state, s.attempts,
        least(v_now + p_lease, s.started_at + ts.timeout_seconds * interval '1 second' + interval '10 seconds'),
        s.worker_id)::tasker.read_step)
    into v_held
    from (
        select u.* from unnest(p_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens)
            u(namespace, msg_id, task_id, step_no, token)
        order by u.task_id, u.step_no
    ) r
    join lateral (
        select * from tasker.steps l where l.task_id = r.task_id and l.step_no = r.step_no for update
    ) s on s.token = r.token
    join tasker.tasks t on t.task_id = r.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = r.step_no;

    update tasker.steps s set due_at = h.due_at
    from unnest(v_held) h
    where s.task_id = h.task_id and s.step_no = h.step_no;

    perform tasker.defer_messages(
        array_agg(h.namespace), array_agg(h.msg_id), array_agg(h.task_id), array_agg(h.step_no), array_agg(h.due_at))
    from unnest(v_held) h;

    return query select h.task_id, h.step_no from unnest(v_held) h;
end
$$;
