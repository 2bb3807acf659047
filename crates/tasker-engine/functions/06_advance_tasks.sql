-- What changes of steps mean for their tasks and dependents.

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

-- The state of a task that has started and has not been ended, by its counters of steps.
create or replace function tasker.task_state(p_completed bigint, p_total bigint, p_active bigint, p_failed bigint)
returns tasker.state
language sql immutable parallel safe
return (case
    when p_completed = p_total then 'completed'
    when p_active = 0 and p_failed > 0 then 'blocked_by_failures'
    else 'in_progress'
end)::tasker.state;

-- Applies changes of steps to their tasks and dependents. The caller has locked the tasks. The arrays have
-- one element for each step: 1 if it settled (it was completed, resolved or skipped), and what to add to the
-- task's counters of failed and active steps.
--
-- Every outcome of a step passes here, so this is where events are published.
--
-- Dependents of settled steps are counted down and enqueued when they wait for nothing more. Up to `p_take`
-- of them, in `p_namespaces` only, are started for the worker `p_worker_id` at once: their messages are
-- hidden for the length of the lease. Tasks that complete, become blocked or continue change their state.
-- Listeners hear of tasks that came to rest.
--
-- Where a workflow takes shape while it runs, `settle_children` counts children for their groups first, and
-- `admit_steps` decides about the steps that became ready. What it decides are changes again, for the next
-- round: a step that is skipped settles.
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
    -- The namespaces whose steps may be handed to the worker.
    v_open text[] := array(
        select u.name from unnest(p_namespaces) u(name)
        where not exists (select from tasker.namespaces n where n.namespace = u.name and n.paused_at is not null));
    v_shaped_tasks uuid[];
    v_shaped_steps smallint[];
    v_resting uuid[];
    v_ended_children uuid[];
    v_namespaces text[];
    v_ready_tasks uuid[];
    v_ready_steps smallint[];
    v_visible_at timestamptz[];
    v_handed boolean[];
    v_queued_tasks uuid[];
    v_queued_steps smallint[];
    v_msg_ids bigint[];
    v_admit_tasks uuid[];
    v_admit_steps smallint[];
begin
    loop
        if tasker.first_child() <= any (p_step_nos) then
            select array_agg(c.task_id), array_agg(c.step_no), array_agg(c.settled), array_agg(c.failed), array_agg(c.active)
            into p_task_ids, p_step_nos, p_completed, p_failed, p_active
            from tasker.settle_children(p_now, p_task_ids, p_step_nos, p_completed, p_failed, p_active) c;
        end if;
        with changed as materialized (
            select c.task_id, c.step_no, c.completed, c.failed, c.active, t.template_id, t.plain, t.namespace, t.priority, t.state,
                   t.total_steps, t.completed_steps, t.failed_steps, t.active_steps
            from unnest(p_task_ids, p_step_nos, p_completed, p_failed, p_active)
                     c(task_id, step_no, completed, failed, active)
            join tasker.tasks t on t.task_id = c.task_id
        ), counted as (
            update tasker.steps s
            set pending_dependencies = n.left_over,
                skipped_dependencies = n.skipped,
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
                           w.skipped_dependencies + e.skipped as skipped,
                           a.admission is not null or w.skipped_dependencies + e.skipped > 0 as asks,
                           w.pending_dependencies = e.n and e.namespace = any (v_open)
                               and a.admission is null and w.skipped_dependencies + e.skipped = 0 as ready
                    from (
                        select c.task_id, dep.step_no, c.template_id, c.plain, c.namespace, c.priority,
                               count(*)::smallint as n, (count(*) filter (where dep.step_no <> all (o.chosen)))::smallint as skipped
                        from changed c
                        join tasker.template_steps ts on ts.template_id = c.template_id and ts.step_no = c.step_no,
                        lateral (
                            select case when not c.plain then tasker.chosen_dependents(c.task_id, ts) end as chosen
                        ) o,
                        unnest(ts.dependents) dep(step_no)
                        where c.completed > 0
                        group by c.task_id, dep.step_no, c.template_id, c.plain, c.namespace, c.priority
                    ) e
                    join tasker.steps w on w.task_id = e.task_id and w.step_no = e.step_no
                    left join lateral (
                        select l.admission from tasker.template_steps l
                        where not e.plain and l.template_id = e.template_id and l.step_no = e.step_no
                    ) a on true
                    where w.state = 'pending'
                ) d
            ) n
            where s.task_id = n.task_id and s.step_no = n.step_no
            returning s.task_id, s.step_no, n.namespace, n.left_over, n.handed, n.asks,
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
                select d.*, tasker.task_state(d.completed_steps, d.total_steps, d.active_steps, d.failed_steps) as state
                from (
                    select c.task_id, c.state as old_state, c.total_steps,
                           c.completed_steps + sum(c.completed) as completed_steps,
                           c.failed_steps + sum(c.failed) as failed_steps,
                           c.active_steps + sum(c.active)
                               + (select count(*) from ready r where r.task_id = c.task_id) as active_steps
                    from changed c
                    group by c.task_id, c.state, c.total_steps, c.completed_steps, c.failed_steps, c.active_steps
                    -- Steps that wait for a retry or were released change nothing.
                    having bool_or(c.completed <> 0 or c.failed <> 0 or c.active <> 0)
                ) d
            ) n
            where t.task_id = n.task_id
            returning t.task_id, n.old_state, t.state, t.parent_task_id
        ), history as (
            insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
            select r.task_id, p_now, r.step_no, case when r.handed then 1::smallint end, 'pending'::tasker.state,
                   (case when r.handed then 'in_progress' else 'enqueued' end)::tasker.state,
                   case when r.handed then p_worker_id end, null
            from ready r where not r.asks
            union all
            select t.task_id, p_now, null, null, t.old_state, t.state, p_actor, p_reason
            from settled t where t.old_state <> t.state
        )
        select array(select c.task_id from changed c where not c.plain order by c.task_id, c.step_no),
               array(select c.step_no from changed c where not c.plain order by c.task_id, c.step_no),
               array(select t.task_id from settled t where t.old_state <> t.state and t.state <> 'in_progress'),
               array(select t.task_id from settled t where t.state = 'completed' and t.parent_task_id is not null),
               array_agg(r.namespace) filter (where not r.asks), array_agg(r.task_id) filter (where not r.asks),
               array_agg(r.step_no) filter (where not r.asks), array_agg(r.visible_at) filter (where not r.asks),
               array_agg(r.handed) filter (where not r.asks),
               array_agg(r.task_id) filter (where r.asks), array_agg(r.step_no) filter (where r.asks)
        into v_shaped_tasks, v_shaped_steps, v_resting, v_ended_children, v_namespaces, v_ready_tasks, v_ready_steps, v_visible_at, v_handed, v_admit_tasks, v_admit_steps
        from ready r;

        if v_shaped_tasks <> '{}' then
            perform tasker.publish_events(p_now, v_shaped_tasks, v_shaped_steps);
        end if;
        if v_resting <> '{}' then
            perform tasker.announce(v_resting);
        end if;
        if v_ended_children <> '{}' then
            perform tasker.wake_parents(p_now, v_ended_children);
        end if;
        if v_ready_tasks is not null then
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
                p_take := p_take - cardinality(array_positions(v_handed, true));
            end if;
        end if;
        exit when v_admit_tasks is null;
        select array_agg(c.task_id), array_agg(c.step_no), array_agg(c.settled), array_agg(c.failed), array_agg(c.active)
        into p_task_ids, p_step_nos, p_completed, p_failed, p_active
        from tasker.admit_steps(p_now, v_admit_tasks, v_admit_steps) c;
        exit when p_task_ids is null;
    end loop;
end
$$;
