-- Recording results and extending leases.

-- The delay after attempt number `p_attempt` failed: exponential (base, 2 base, 4 base, ...), linear (base, 2
-- base, 3 base, ...) or fixed, up to the maximum. A random part of up to a quarter is subtracted, so that
-- steps that failed together do not all retry together.
create or replace function tasker.backoff_delay(p_backoff text, p_base_ms bigint, p_max_ms bigint, p_attempt integer)
returns interval
language sql volatile
return least(
    p_max_ms::float8,
    p_base_ms * case p_backoff
        when 'exponential' then power(2::float8, least(p_attempt - 1, 62))
        when 'linear' then p_attempt
        when 'fixed' then 1
    end) * (1 - random() / 4) * interval '1 millisecond';

-- Applies changes of steps to their tasks and dependents. The caller has locked the tasks. The arrays have
-- one element for each step: 1 if it was completed or resolved, and what to add to the task's counters of
-- failed and active steps.
--
-- Dependents of completed steps are counted down and enqueued when they wait for nothing more. Up to `p_take`
-- of them, in `p_namespaces` only, are started for the worker `p_worker_id` at once: their messages are
-- hidden for the length of the lease. Tasks that complete, become blocked or continue change their state.
-- Listeners hear of tasks that came to rest.
--
-- Returns the steps that were handed to the worker, with their messages.
create or replace function tasker.advance_tasks(
    p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[],
    p_completed integer[], p_failed integer[], p_active integer[],
    p_actor text default null, p_reason text default null,
    p_worker_id text default null, p_namespaces text[] default '{}', p_take integer default 0,
    p_lease interval default null
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
        from unnest(p_task_ids, p_step_nos, p_completed, p_failed, p_active)
                 c(task_id, step_no, completed, failed, active)
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
                  case when n.handed then p_now + p_lease
                       else p_now - n.priority * interval '10 seconds' end as visible_at
    ), ready as materialized (
        select c.* from counted c where c.left_over = 0 order by c.task_id, c.step_no
    ), settled as (
        update tasker.tasks t
        set completed_steps = n.completed_steps,
            failed_steps = n.failed_steps,
            active_steps = n.active_steps,
            state = n.state,
            -- Null if an operator resolves a step before any step has run.
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
                -- Steps that wait for a retry or were released change nothing.
                having bool_or(c.completed <> 0 or c.failed <> 0)
            ) d
        ) n
        where t.task_id = n.task_id
        returning t.task_id, n.old_state, t.state
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
        select r.task_id, p_now, r.step_no, null::smallint, 'pending'::tasker.state, 'enqueued'::tasker.state,
               null, null
        from ready r
        union all
        select r.task_id, p_now, r.step_no, 1, 'enqueued', 'in_progress', p_worker_id, null from ready r where r.handed
        union all
        select t.task_id, p_now, null, null, t.old_state, t.state, p_actor, p_reason
        from settled t where t.old_state <> t.state
    )
    select array(select t.task_id from settled t where t.old_state <> t.state and t.state <> 'in_progress'),
           array_agg(r.namespace), array_agg(r.task_id), array_agg(r.step_no), array_agg(r.visible_at),
           array_agg(r.handed)
    into v_resting, v_namespaces, v_ready_tasks, v_ready_steps, v_visible_at, v_handed
    from ready r;

    if v_resting <> '{}' then
        perform tasker.announce(v_resting);
    end if;
    if v_ready_tasks is null then
        return;
    end if;
    -- A statement of its own, because a join may skip a function call whose rows it cannot use.
    select array_agg(q.task_id), array_agg(q.step_no), array_agg(q.msg_id)
    into v_queued_tasks, v_queued_steps, v_msg_ids
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

-- Records a batch of results. A result is accepted only with the token of the lease that holds the step. The
-- worker may be handed up to `p_take` steps of `p_namespaces` that this made ready.
--
-- `refused` holds the positions, from 1, of the results that were not accepted: the lease expired and another
-- worker holds the step, or an operator cancelled or resolved it. `handed` holds the steps that the worker
-- must run next.
create or replace function tasker.complete_steps(
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
begin
    perform from tasker.tasks t
    where t.task_id = any (array(select r.task_id from unnest(p_results) r)) order by t.task_id for update;

    -- 1. Decide which results are accepted and how they change their steps.
    with accepted as materialized (
        select r.namespace, r.msg_id, r.task_id, r.step_no, r.token, s.attempts,
            (case
                when r.outcome = 'completed' then 'completed'
                when r.outcome = 'released' then 'enqueued'
                when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts then 'waiting_for_retry'
                when r.outcome in ('retryable_error', 'permanent_error') then 'failed'
            end)::tasker.state as state,
            case
                when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts
                then v_now + tasker.backoff_delay(ts.backoff, ts.backoff_base_ms, ts.max_backoff_ms, s.attempts)
            end as due_at,
            r.payload
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
            from tasker.tasks t join tasker.template_steps l on l.template_id = t.template_id and l.step_no = r.step_no
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
                    when a.state = 'enqueued' then 'released by the worker' end
        from accepted a
    )
    select array_agg((a.namespace, a.msg_id, a.task_id, a.step_no, a.token, a.state, a.due_at)::tasker.accepted_result)
    into v_accepted
    from accepted a;

    if v_accepted is not null then
        -- 2. Delete or defer their messages.
        perform tasker.delete_messages(
            array_agg(a.namespace), array_agg(a.msg_id), array_agg(a.task_id), array_agg(a.step_no))
        from unnest(v_accepted) a where a.state = 'completed' or a.state = 'failed';
        if exists (select from unnest(v_accepted) a where a.state = 'enqueued' or a.state = 'waiting_for_retry') then
            v_waiting := array(
                select a from unnest(v_accepted) a where a.state = 'enqueued' or a.state = 'waiting_for_retry');
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
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = r.step_no;

    update tasker.steps s set due_at = h.due_at
    from unnest(v_held, v_due_at) h(namespace, msg_id, task_id, step_no, token, due_at)
    where s.task_id = h.task_id and s.step_no = h.step_no;

    perform tasker.defer_messages(
        array_agg(h.namespace), array_agg(h.msg_id), array_agg(h.task_id), array_agg(h.step_no), array_agg(h.due_at))
    from unnest(v_held, v_due_at) h(namespace, msg_id, task_id, step_no, token, due_at);

    return query select unnest(v_positions);
end
$$;
