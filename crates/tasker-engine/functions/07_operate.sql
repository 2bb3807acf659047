-- What operators do to tasks and steps. Each function returns an outcome. `p_actor` and `p_reason` go into
-- the history.
--
-- Outcomes:
--   done         the change is made
--   not_found    there is no such task
--   no_step      the task has no such step
--   wrong_state  the task or step is in `state`, which does not allow the change

-- Ends a task. Its steps do not start any more, and results of running steps are refused. The next reader
-- deletes their messages. `p_state` is 'cancelled' (for any task that is not final) or 'failed' (for a task
-- that is blocked by failures).
create or replace function tasker.end_task(
    p_task_id uuid, p_state tasker.state, p_actor text, p_reason text, out outcome text, out state tasker.state
)
language plpgsql as $$
begin
    select c.outcome, c.state into outcome, state from tasker.close_task(p_task_id, p_state, p_actor, p_reason) c;
    perform tasker.release_gates(tasker.now(), array[p_task_id]);
end
$$;

-- The same without its gates, for calls that end several tasks: they release the gates of all of them, once, at the end.
create or replace function tasker.close_task(
    p_task_id uuid, p_state tasker.state, p_actor text, p_reason text, out outcome text, out state tasker.state
)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_old tasker.state;
begin
    select t.state into v_old from tasker.tasks t where t.task_id = p_task_id for update;
    state := v_old;
    outcome := case
        when v_old is null then 'not_found'
        when v_old in ('completed', 'failed', 'cancelled') then 'wrong_state'
        when p_state = 'failed' and v_old <> 'blocked_by_failures' then 'wrong_state'
        else 'done'
    end;
    if outcome <> 'done' then
        return;
    end if;
    state := p_state;

    perform from tasker.steps s where s.task_id = p_task_id order by s.step_no for update;
    with old as (
        select s.step_no, s.state from tasker.steps s
        where s.task_id = p_task_id
          and s.state in ('pending', 'enqueued', 'in_progress', 'waiting_for_retry', 'waiting')
    ), ended as (
        update tasker.steps s set state = 'cancelled', token = null, due_at = null, completed_at = v_now
        from old o where s.task_id = p_task_id and s.step_no = o.step_no
        returning s.step_no, o.state
    )
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    select p_task_id, v_now, e.step_no, e.state, 'cancelled'::tasker.state, p_actor, p_reason from ended e
    union all
    select p_task_id, v_now, null, v_old, p_state, p_actor, p_reason;

    update tasker.tasks t set state = p_state, completed_at = v_now, active_steps = 0 where t.task_id = p_task_id;
    perform tasker.announce(array[p_task_id]);
    perform tasker.wake_parents(v_now, array_agg(t.task_id))
    from tasker.tasks t where t.task_id = p_task_id and t.parent_task_id is not null having count(*) > 0;
end
$$;

-- Retries failed steps with all their attempts: the step `p_step`, or all failed steps of the task if it is
-- null. The state is wrong if the task is final or nothing has failed.
create or replace function tasker.retry_steps(
    p_task_id uuid, p_step text, p_actor text, p_reason text, out outcome text, out state tasker.state
)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_task tasker.tasks;
    v_steps smallint[];
    v_asking smallint[];
    v_known boolean;
begin
    select t.* into v_task from tasker.tasks t where t.task_id = p_task_id for update;
    if v_task.task_id is null then
        outcome := 'not_found';
        return;
    end if;
    select array_agg(s.step_no) filter (where s.state = 'failed' and not a.asks and not a.tolerated),
           array_agg(s.step_no) filter (where s.state = 'failed' and a.asks), count(*) > 0, max(s.state)
    into v_steps, v_asking, v_known, state
    from tasker.template_steps ts
    join (
        select * from tasker.steps l where l.task_id = p_task_id order by l.step_no for update
    ) s on coalesce(s.definition, s.step_no) = ts.step_no
    cross join lateral (
        select
            -- It failed before its handler was called, so it is decided again.
            coalesce(s.definition is null and (
                ts.admission ?| '{expand,task}' or s.error ->> 'kind' in ('signal_timeout', 'bad_gate_key')), false) as asks,
            -- The group of such a child has counted it already.
            coalesce(s.definition is not null and ts.admission #>> '{expand,failure_strategy}' = 'continue_on_failure',
                     false) as tolerated
    ) a
    where ts.template_id = v_task.template_id and (p_step is null or coalesce(s.name, ts.name) = p_step);
    if p_step is null then
        state := v_task.state;
    end if;
    outcome := case
        when not v_known then 'no_step'
        when v_task.state in ('completed', 'failed', 'cancelled') or coalesce(v_steps, v_asking) is null then 'wrong_state'
        else 'done'
    end;
    if outcome <> 'done' then
        return;
    end if;
    state := 'enqueued';

    update tasker.steps s
    set state = 'enqueued', attempts = 0, completed_at = null, error = null
    from unnest(tasker.keys(p_task_id, v_steps || v_asking), v_steps || v_asking) n(task_id, step_no)
    where s.task_id = n.task_id and s.step_no = n.step_no;
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    select p_task_id, v_now, n, 'failed'::tasker.state, 'enqueued'::tasker.state, p_actor, p_reason from unnest(v_steps) n
    union all
    select p_task_id, v_now, n, 'failed', 'pending', p_actor, p_reason from unnest(v_asking) n;
    perform tasker.enqueue(
        array_agg(v_task.namespace), array_agg(p_task_id), array_agg(n),
        array_agg(v_now - v_task.priority * interval '10 seconds')) from unnest(v_steps) n having count(*) > 0;
    perform tasker.advance_tasks(
        v_now, array_agg(p_task_id), array_agg(n), array_agg(0), array_agg(-1), array_agg(1), p_actor, p_reason)
    from unnest(v_steps || v_asking) n;
    if v_asking is not null then
        perform tasker.admit_roots(v_now, array_agg(p_task_id), array_agg(n)) from unnest(v_asking) n;
    end if;
end
$$;

-- Records a result for a step by hand. The step does not run any more, and its dependents continue. The state
-- is wrong if the task is final, or the step has a result, was skipped or cancelled, or its group tolerated its
-- failure. A result that decides how the workflow continues is checked like one of a handler.
create or replace function tasker.resolve_step(
    p_task_id uuid, p_step text, p_result jsonb, p_actor text, p_reason text, out outcome text, out state tasker.state
)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_task tasker.tasks;
    v_step_no smallint;
    v_old tasker.state;
    v_error text;
    v_settled integer;
    v_failed integer;
    v_active integer;
begin
    select t.* into v_task from tasker.tasks t where t.task_id = p_task_id for update;
    if v_task.task_id is null then
        outcome := 'not_found';
        return;
    end if;
    select s.step_no, s.state, case when s.definition is null then tasker.outcome_error(ts, p_result) end
    into v_step_no, v_old, v_error
    from tasker.steps s
    join tasker.template_steps ts
        on ts.template_id = v_task.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    where s.task_id = p_task_id and coalesce(s.name, ts.name) = p_step for update of s;
    state := v_old;
    outcome := case
        when v_step_no is null then 'no_step'
        when v_task.state in ('completed', 'failed', 'cancelled')
          or v_old in ('completed', 'resolved_manually', 'cancelled', 'skipped')
          -- The group of such a child has counted it already.
          or v_old = 'failed' and tasker.failure_strategy(p_task_id, v_step_no) = 'continue_on_failure' then 'wrong_state'
        else 'done'
    end;
    if outcome <> 'done' then
        return;
    end if;
    if v_error is not null then
        raise exception '%', v_error using errcode = 'invalid_parameter_value';
    end if;
    state := 'resolved_manually';
    -- A group that is resolved needs its children no more.
    perform from tasker.steps s
    where s.task_id = p_task_id and s.definition = v_step_no order by s.step_no for update;
    with open as (
        select s.step_no, s.state from tasker.steps s
        where s.task_id = p_task_id and s.definition = v_step_no
          and s.state in ('pending', 'enqueued', 'in_progress', 'waiting_for_retry', 'waiting', 'failed')
          -- A failure that was tolerated has been counted.
          and not (s.state = 'failed' and tasker.failure_strategy(p_task_id, s.step_no) = 'continue_on_failure')
    ), ended as (
        update tasker.steps s set state = 'cancelled', token = null, due_at = null, completed_at = v_now
        from open o where s.task_id = p_task_id and s.step_no = o.step_no
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
        select p_task_id, v_now, o.step_no, o.state, 'cancelled', p_actor, p_reason from open o
    )
    select count(*), count(*) filter (where o.state = 'failed'),
           count(*) filter (where o.state not in ('pending', 'failed'))
    into v_settled, v_failed, v_active from open o;

    update tasker.steps s
    set state = 'resolved_manually', result = p_result, error = null, token = null, due_at = null, completed_at = v_now
    where s.task_id = p_task_id and s.step_no = v_step_no;
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    values (p_task_id, v_now, v_step_no, v_old, 'resolved_manually', p_actor, p_reason);

    perform tasker.advance_tasks(
        v_now, array[p_task_id], array[v_step_no], array[1 + v_settled],
        array[-(v_old = 'failed')::integer - v_failed],
        array[-(v_old in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting'))::integer - v_active],
        p_actor, p_reason);
    if not v_task.plain then
        perform tasker.release_gates(v_now, array[p_task_id]);
    end if;
end
$$;
