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

create type tasker.ready_step as (task_id uuid, step_no smallint, namespace text, visible_at timestamptz, handed boolean);

-- Counts down the dependents of steps that were completed or resolved (their tasks are locked), and enqueues those that
-- wait for nothing more. Up to `p_take` of them, if of one of `p_namespaces`, are started for the worker `p_worker_id`
-- at once: their message is hidden for the length of the lease.
-- Returns the steps that became ready; `msg_id` only for those handed to the worker.
create function tasker.ready_dependents(
    p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[],
    p_worker_id text, p_namespaces text[], p_take integer, p_lease interval
)
returns table (task_id uuid, step_no smallint, handed boolean, msg_id bigint)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_ready tasker.ready_step[];
begin
    with counted as (
        update tasker.steps s
        set pending_dependencies = n.left_over,
            state = case when n.left_over > 0 then s.state when n.handed then 'in_progress' else 'enqueued' end,
            attempts = s.attempts + n.handed::integer,
            token = case when n.handed then gen_random_uuid() end,
            due_at = case when n.handed then p_now + p_lease end,
            started_at = case when n.handed then p_now end,
            worker_id = case when n.handed then p_worker_id end
        from (
            select d.task_id, d.step_no, d.left_over, t.namespace, t.priority,
                   d.left_over = 0 and t.namespace = any (p_namespaces)
                   and p_take >= sum((d.left_over = 0 and t.namespace = any (p_namespaces))::integer)
                                 over (order by d.task_id, d.step_no) as handed
            from (
                select s.task_id, s.step_no, s.pending_dependencies - e.n as left_over
                from (
                    select c.task_id, dep.step_no, count(*)::smallint as n
                    from unnest(p_task_ids, p_step_nos) c(task_id, step_no)
                    join tasker.tasks t on t.task_id = c.task_id
                    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = c.step_no,
                    unnest(ts.dependents) dep(step_no)
                    group by c.task_id, dep.step_no
                ) e
                join tasker.steps s on s.task_id = e.task_id and s.step_no = e.step_no
                where s.state = 'pending'
            ) d
            join tasker.tasks t on t.task_id = d.task_id
        ) n
        where s.task_id = n.task_id and s.step_no = n.step_no
        returning s.task_id, s.step_no, n.namespace, n.left_over, n.handed,
                  case when n.handed then p_now + p_lease else p_now - n.priority * interval '10 seconds' end as visible_at
    )
    select array_agg((c.task_id, c.step_no, c.namespace, c.visible_at, coalesce(c.handed, false))::tasker.ready_step
                     order by c.task_id, c.step_no)
    into v_ready
    from counted c where c.left_over = 0;
    if v_ready is null then
        return;
    end if;

    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor)
    select r.task_id, p_now, r.step_no, null, 'pending'::tasker.state, 'enqueued'::tasker.state, null from unnest(v_ready) r
    union all
    select r.task_id, p_now, r.step_no, 1, 'enqueued', 'in_progress', p_worker_id from unnest(v_ready) r where r.handed;

    return query
    select r.task_id, r.step_no, r.handed, q.msg_id
    from tasker.enqueue(
        array(select r.namespace from unnest(v_ready) r), array(select r.task_id from unnest(v_ready) r),
        array(select r.step_no from unnest(v_ready) r), array(select r.visible_at from unnest(v_ready) r)) q
    join unnest(v_ready) r on r.task_id = q.task_id and r.step_no = q.step_no;
end
$$;

create type tasker.accepted_result as (
    namespace text, msg_id bigint, task_id uuid, step_no smallint, token uuid, attempt smallint,
    state tasker.state, due_at timestamptz, payload jsonb
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
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := tasker.now();
    v_accepted tasker.accepted_result[];
    v_ready_tasks uuid[];
    v_handed_tasks uuid[];
    v_handed_steps smallint[];
    v_handed_msgs bigint[];
begin
    perform from tasker.tasks t where t.task_id = any (p_task_ids) order by t.task_id for update;

    -- 1. Which results count, and what they make of their steps.
    select array_agg((r.namespace, r.msg_id, r.task_id, r.step_no, r.token, s.attempts,
        case
            when r.outcome = 'completed' then 'completed'
            when r.outcome = 'released' then 'enqueued'
            when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts then 'waiting_for_retry'
            else 'failed'
        end,
        case
            when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts
            then v_now + tasker.backoff_delay(ts.backoff, ts.backoff_base_ms, ts.max_backoff_ms, s.attempts)
        end,
        r.payload)::tasker.accepted_result)
    into v_accepted
    from (
        select distinct on (u.task_id, u.step_no, u.token) u.*
        from unnest(p_result_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens, p_outcomes, p_payloads) with ordinality
            u(namespace, msg_id, task_id, step_no, token, outcome, payload, nth)
        order by u.task_id, u.step_no, u.token, u.nth
    ) r
    join lateral (
        select * from tasker.steps l where l.task_id = r.task_id and l.step_no = r.step_no for update
    ) s on s.token = r.token
    join tasker.tasks t on t.task_id = r.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = r.step_no;

    if v_accepted is not null then
        -- 2. The steps, their messages and their history.
        update tasker.steps s
        set state = a.state, token = null, due_at = a.due_at,
            attempts = s.attempts - (a.state = 'enqueued')::integer,
            completed_at = case when a.state in ('completed', 'failed') then v_now end,
            result = case when a.state = 'completed' then coalesce(a.payload, 'null') end,
            error = case when a.state in ('waiting_for_retry', 'failed') then a.payload end
        from unnest(v_accepted) a
        where s.task_id = a.task_id and s.step_no = a.step_no;

        perform tasker.delete_messages(array_agg(a.namespace), array_agg(a.msg_id))
        from unnest(v_accepted) a where a.state in ('completed', 'failed');

        if exists (select from unnest(v_accepted) a where a.state in ('enqueued', 'waiting_for_retry')) then
            perform tasker.defer_messages(array_agg(a.namespace), array_agg(a.msg_id), array_agg(coalesce(a.due_at, v_now)))
            from unnest(v_accepted) a where a.state in ('enqueued', 'waiting_for_retry');
        end if;

        insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
        select a.task_id, v_now, a.step_no, a.attempt, 'in_progress', a.state, p_worker_id,
               case when a.state in ('waiting_for_retry', 'failed') then left(a.payload ->> 'message', 1000)
                    when a.state = 'enqueued' then 'handed back' end
        from unnest(v_accepted) a;

        -- 3. The dependents, some of them for this worker.
        select array_agg(d.task_id), array_agg(d.task_id) filter (where d.handed),
               array_agg(d.step_no) filter (where d.handed), array_agg(d.msg_id) filter (where d.handed)
        into v_ready_tasks, v_handed_tasks, v_handed_steps, v_handed_msgs
        from tasker.ready_dependents(v_now,
            array(select a.task_id from unnest(v_accepted) a where a.state = 'completed'),
            array(select a.step_no from unnest(v_accepted) a where a.state = 'completed'),
            p_worker_id, p_namespaces, p_take, p_lease) d;

        -- 4. The tasks.
        perform tasker.settle_tasks(v_now, array_agg(d.task_id), array_agg(d.completed), array_agg(d.failed), array_agg(d.active))
        from (
            select c.task_id, sum(c.completed)::integer as completed, sum(c.failed)::integer as failed,
                   sum(c.active)::integer as active
            from (
                select a.task_id, (a.state = 'completed')::integer as completed, (a.state = 'failed')::integer as failed,
                       -(a.state in ('completed', 'failed'))::integer as active
                from unnest(v_accepted) a
                union all
                select r.task_id, 0, 0, 1 from unnest(v_ready_tasks) r(task_id)
            ) c
            group by c.task_id
            having sum(c.completed) + sum(c.failed) > 0
        ) d;
    end if;

    return query
    select true, r.task_id, r.step_no, r.token, r.msg_id, r.namespace, null::text, null::text, null::text, null::text,
           null::jsonb, null::jsonb, null::jsonb, null::smallint, null::smallint, null::integer
    from unnest(p_result_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens)
        r(namespace, msg_id, task_id, step_no, token)
    where not exists (
        select from unnest(v_accepted) a
        where a.task_id = r.task_id and a.step_no = r.step_no and a.token = r.token);

    if v_handed_tasks is not null then
        return query select d.* from tasker.claimed_steps(v_handed_tasks, v_handed_steps, v_handed_msgs) d;
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
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_held tasker.read_step[];
begin
    perform set_config('synchronous_commit', 'off', true);

    select array_agg((r.namespace, r.msg_id, r.task_id, r.step_no, null, s.state, s.attempts,
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

    perform tasker.defer_messages(array_agg(h.namespace), array_agg(h.msg_id), array_agg(h.due_at)) from unnest(v_held) h;

    return query select h.task_id, h.step_no from unnest(v_held) h;
end
$$;
