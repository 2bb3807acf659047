-- What operators look at: counts, queues, handlers that are missing, attempts, and why a step waits. All of it reads a
-- bounded number of rows.

-- How many tasks each namespace has in each state, up to `p_limit`. Combinations without tasks are left out.
create or replace function tasker.count_tasks(p_namespaces text[], p_limit integer)
returns table (namespace text, state tasker.state, count bigint)
language sql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
    select n.namespace, s.state, c.count
    from tasker.namespaces n
    cross join unnest(tasker.task_states()) s(state)
    cross join lateral (
        select count(*) from (
            select from tasker.tasks t where t.namespace = n.namespace and t.state = s.state limit p_limit) t
    ) c
    where (p_namespaces is null or n.namespace = any (p_namespaces)) and c.count > 0
    order by n.namespace, s.state
$$;

-- The queue of each namespace: how many messages are visible and hidden, up to `p_limit`, and how long the visible one
-- that has waited longest has been waiting. Priority moves the visibility time back, so a message waits from the later
-- of its visibility and its creation.
create or replace function tasker.queue_depths(p_namespaces text[], p_limit integer)
returns table (namespace text, ready bigint, hidden bigint, oldest_ready_seconds double precision)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_queue text;
begin
    for namespace, v_queue in
        select n.namespace, n.queue from tasker.namespaces n
        where p_namespaces is null or n.namespace = any (p_namespaces) order by n.namespace
    loop
        execute format(
            'select count(*), extract(epoch from max($1 - least($1, greatest(m.vt, m.enqueued_at))))
             from (select vt, enqueued_at from pgmq.%I where vt <= $1 order by vt limit $2) m', 'q_' || v_queue)
        into ready, oldest_ready_seconds using v_now, p_limit;
        execute format('select count(*) from (select from pgmq.%I where vt > $1 limit $2) m', 'q_' || v_queue)
        into hidden using v_now, p_limit;
        return next;
    end loop;
end
$$;

-- Workers whose heartbeats arrive.
create or replace function tasker.live_workers(p_namespace text) returns setof tasker.workers
language sql stable
as $$
    select w.* from tasker.workers w
    where w.status = 'running' and w.last_heartbeat_at >= tasker.now() - tasker.heartbeat_timeout()
      and (p_namespace is null or p_namespace = any (w.namespaces))
$$;

-- Callables that open tasks need and that no live worker of their namespace has. Looks at the newest `p_limit` tasks of
-- each namespace and state. A worker of an older release does not report its handlers, and may have any. Pages cost
-- nothing for the reason that `newest_tasks` names.
create or replace function tasker.unserved_handlers(p_namespaces text[], p_limit integer)
returns table (namespace text, callable text, templates text[], open_tasks bigint)
language sql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off set seq_page_cost = 0 set random_page_cost = 0
as $$
    with open as materialized (
        select n.namespace, l.template_id, count(*) as tasks
        from tasker.namespaces n
        cross join unnest('{pending,in_progress,blocked_by_failures}'::tasker.state[]) s(state)
        cross join lateral (
            select t.template_id from tasker.tasks t
            where t.namespace = n.namespace and t.state = s.state
            order by t.task_id desc limit p_limit
        ) l
        where p_namespaces is null or n.namespace = any (p_namespaces)
        group by n.namespace, l.template_id
    ), live as materialized (
        select w.namespaces, w.handlers from tasker.live_workers(null) w
    )
    select o.namespace, ts.callable, array_agg(distinct tt.name order by tt.name), sum(o.tasks)::bigint
    from open o
    cross join lateral (
        -- A step that runs a child task needs no handler.
        select distinct s.callable from tasker.template_steps s
        where s.template_id = o.template_id and (s.admission ? 'task') is not true
    ) ts
    join tasker.task_templates tt on tt.template_id = o.template_id
    where not exists (
        select from live l
        where o.namespace = any (l.namespaces) and (l.handlers is null or ts.callable = any (l.handlers)))
    group by o.namespace, ts.callable
    order by o.namespace, ts.callable
$$;

-- The attempts of a task's steps, oldest first. An attempt begins with the transition `attempt_id` to `in_progress` and
-- ends with the next transition of its step. Returns those after `p_after`, of one step or all.
create or replace function tasker.list_attempts(p_task_id uuid, p_step text, p_after bigint, p_limit integer)
returns table (
    attempt_id bigint, step text, attempt smallint, worker_id text, started_at timestamptz, ended_at timestamptz,
    outcome tasker.state, error_kind text, reason text
)
language sql stable as $$
    select a.transition_id, coalesce(s.name, ts.name), a.attempt, a.actor, a.at, a.ended_at, a.outcome, a.kind, a.why
    from (
        select r.*, lead(r.at) over step as ended_at, lead(r.to_state) over step as outcome,
               lead(r.error_kind) over step as kind, lead(r.reason) over step as why
        from tasker.transitions r
        where r.task_id = p_task_id and r.step_no is not null
        window step as (partition by r.step_no order by r.transition_id)
    ) a
    join tasker.tasks t on t.task_id = p_task_id
    join tasker.steps s on s.task_id = t.task_id and s.step_no = a.step_no
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    where a.to_state = 'in_progress' and a.transition_id > p_after
      and (p_step is null or coalesce(s.name, ts.name) = p_step)
    order by a.transition_id limit p_limit
$$;

-- The facts that tell why a step waits. No row if there is no such task or step.
--   missing        the dependencies that have no result yet, with their states
--   workers        the live workers of the namespace
--   able           those of them that have the handler, or may have it; all, if the step runs a child task
--   free           those of them that run fewer steps than they can
--   holder_lives   whether the worker that holds the step sends heartbeats
--   ahead          the messages that workers read before this step, up to `p_limit`
create or replace function tasker.explain_step(p_task_id uuid, p_step text, p_limit integer)
returns table (
    task_state tasker.state, state tasker.state, namespace text, callable text, due_at timestamptz, worker_id text,
    missing jsonb, workers text[], able text[], free text[], holder_lives boolean, ahead bigint
)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_step_no smallint;
    v_any boolean;
    v_visible_at timestamptz;
begin
    select t.state, s.state, t.namespace, ts.callable, s.due_at, s.worker_id, s.step_no,
           coalesce(ts.admission ? 'task', false),
           (select jsonb_agg(jsonb_build_array(ds.name, d.state) order by d.step_no)
            from unnest(tasker.keys(t.task_id, ts.dependencies), ts.dependencies) n(task_id, step_no)
            join tasker.steps d on d.task_id = n.task_id and d.step_no = n.step_no
            join tasker.template_steps ds on ds.template_id = t.template_id and ds.step_no = d.step_no
            where d.state not in ('completed', 'resolved_manually', 'skipped'))
    into task_state, state, namespace, callable, due_at, worker_id, v_step_no, v_any, missing
    from tasker.tasks t
    join tasker.steps s on s.task_id = t.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    where t.task_id = p_task_id and coalesce(s.name, ts.name) = p_step;
    if v_step_no is null then
        return;
    end if;

    select array_agg(w.worker_id order by w.worker_id),
           array_agg(w.worker_id order by w.worker_id) filter (
               where v_any or w.handlers is null or callable = any (w.handlers)),
           array_agg(w.worker_id order by w.worker_id) filter (
               where (v_any or w.handlers is null or callable = any (w.handlers))
                 and coalesce(w.running_steps, 0) < w.max_concurrent),
           coalesce(bool_or(w.worker_id = explain_step.worker_id), false)
    into workers, able, free, holder_lives
    from tasker.live_workers(namespace) w;
    -- A worker that shuts down holds its steps too.
    if not holder_lives then
        holder_lives := exists (
            select from tasker.workers w
            where w.worker_id = explain_step.worker_id and w.status <> 'stopped'
              and w.last_heartbeat_at >= tasker.now() - tasker.heartbeat_timeout());
    end if;

    if state = 'enqueued' then
        -- Its message became visible when it was enqueued, with the head start of its priority.
        select r.at - t.priority * interval '10 seconds' into v_visible_at
        from tasker.transitions r join tasker.tasks t using (task_id)
        where r.task_id = p_task_id and r.step_no = v_step_no and r.to_state = 'enqueued'
        order by r.transition_id desc limit 1;
        execute format(
            'select count(*) from (select from pgmq.%I where vt < $1 limit $2) m',
            'q_' || tasker.queue_name(namespace))
        into ahead using v_visible_at, p_limit;
    end if;
    return next;
end
$$;

-- For what a step that is `waiting` waits: a signal, or a child task in some state. Neither if it waits for a time. No row
-- if it does not wait.
create or replace function tasker.explain_wait(p_task_id uuid, p_step text)
returns table (signal text, child uuid, child_state tasker.state)
language sql stable as $$
    select s.signal, c.task_id, c.state
    from tasker.tasks t
    join tasker.steps s on s.task_id = t.task_id and s.state = 'waiting'
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    left join tasker.tasks c on c.task_id = (s.input ->> 'child')::uuid
    where t.task_id = p_task_id and coalesce(s.name, ts.name) = p_step
$$;

-- What holds up a step that workers could take. No row if there is no such task or step.
--   paused_at    since when its namespace is paused
--   ready_since  since when a worker could have read its message; null while the message is hidden
--   is_lost      whether the step needs a message and has none; null if the queue has `p_limit` messages or more
create or replace function tasker.explain_queue(p_task_id uuid, p_step text, p_limit integer)
returns table (paused_at timestamptz, ready_since timestamptz, is_lost boolean)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_step_no smallint;
    v_queue text;
    v_needs boolean;
    v_found boolean;
    v_read bigint;
begin
    select s.step_no, n.queue, n.paused_at,
           s.state in ('enqueued', 'in_progress', 'waiting_for_retry') and not exists (
               select from tasker.gate_waiters w where w.task_id = s.task_id and w.step_no = s.step_no)
    into v_step_no, v_queue, paused_at, v_needs
    from tasker.tasks t
    join tasker.namespaces n on n.namespace = t.namespace
    join tasker.steps s on s.task_id = t.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    where t.task_id = p_task_id and coalesce(s.name, ts.name) = p_step;
    if v_step_no is null then
        return;
    end if;
    is_lost := false;
    if v_needs then
        execute format(
            'select count(*), coalesce(bool_or(own), false),
                    max(greatest(m.vt, m.enqueued_at)) filter (where own and m.vt <= $1)
             from (
                 select q.vt, q.enqueued_at, q.message ->> ''task_id'' = $2 and q.message ->> ''step_no'' = $3 as own
                 from pgmq.%I q order by q.vt limit $4
             ) m', 'q_' || v_queue)
        into v_read, v_found, ready_since using v_now, p_task_id::text, v_step_no::text, p_limit;
        is_lost := case when v_found then false when v_read < p_limit then true end;
    end if;
    return next;
end
$$;

-- The task below a task that an operator must look at: itself, or one of the tasks for which its steps wait, and so on.
-- Null if none of them is blocked by failures.
create or replace function tasker.blocked_below(p_task_id uuid) returns uuid
language sql stable
begin atomic
    with recursive line(task_id) as (
        select p_task_id
        union all
        select (s.input ->> 'child')::uuid
        from line l join tasker.steps s on s.task_id = l.task_id and s.state = 'waiting' and s.input ? 'child'
    )
    select t.task_id
    from (select l.task_id from line l limit 1000) l
    join tasker.tasks t on t.task_id = l.task_id and t.state = 'blocked_by_failures'
    limit 1;
end;

-- For what a pending step of a group waits. No row if the step is neither a group with children nor a child.
--   group_name   the group of a child; null for a group
--   parallelism  how many children of the group run at once
--   children     the children that have not ended: how many, up to `p_limit`
--   failed       the names of children that an operator must look at: the first `p_names`
--   is_held      whether no child starts until an operator has looked at them
create or replace function tasker.explain_group(p_task_id uuid, p_step text, p_limit integer, p_names integer)
returns table (group_name text, parallelism integer, children bigint, failed text[], is_held boolean)
language sql stable as $$
    select case when s.definition is not null then ts.name end, (ts.admission #>> '{expand,parallelism}')::integer,
           c.open, coalesce(f.names, '{}'),
           ts.admission #>> '{expand,failure_strategy}' = 'fail_fast' and f.names is not null
    from tasker.tasks t
    join tasker.steps s on s.task_id = t.task_id and s.state = 'pending'
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    join tasker.steps g on g.task_id = t.task_id and g.step_no = ts.step_no and g.children > 0
    cross join lateral (
        select count(*) as open from (
            select from tasker.steps o
            where o.task_id = g.task_id and o.definition = g.step_no
              and o.state not in ('completed', 'resolved_manually', 'skipped', 'failed')
            limit p_limit) o
    ) c
    cross join lateral (
        select array_agg(o.name order by o.step_no) as names
        from (
            select o.name, o.step_no from tasker.steps o
            where o.task_id = g.task_id and o.definition = g.step_no and o.state = 'failed'
              and ts.admission #>> '{expand,failure_strategy}' is distinct from 'continue_on_failure'
            order by o.step_no limit p_names) o
    ) f
    where t.task_id = p_task_id and coalesce(s.name, ts.name) = p_step
$$;
