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
        where s.task_id = p_task_id and s.state in ('pending', 'enqueued', 'in_progress', 'waiting_for_retry')
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
    v_known boolean;
begin
    select t.* into v_task from tasker.tasks t where t.task_id = p_task_id for update;
    if v_task.task_id is null then
        outcome := 'not_found';
        return;
    end if;
    select array_agg(s.step_no) filter (where s.state = 'failed'), count(*) > 0, max(s.state)
    into v_steps, v_known, state
    from tasker.template_steps ts
    join (
        select * from tasker.steps l where l.task_id = p_task_id order by l.step_no for update
    ) s on s.step_no = ts.step_no
    where ts.template_id = v_task.template_id and (p_step is null or ts.name = p_step);
    if p_step is null then
        state := v_task.state;
    end if;
    outcome := case
        when not v_known then 'no_step'
        when v_task.state in ('completed', 'failed', 'cancelled') or v_steps is null then 'wrong_state'
        else 'done'
    end;
    if outcome <> 'done' then
        return;
    end if;
    state := 'enqueued';

    update tasker.steps s
    set state = 'enqueued', attempts = 0, completed_at = null, error = null
    where s.task_id = p_task_id and s.step_no = any (v_steps);
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    select p_task_id, v_now, n, 'failed', 'enqueued', p_actor, p_reason from unnest(v_steps) n;
    perform tasker.enqueue(
        array_agg(v_task.namespace), array_agg(p_task_id), array_agg(n),
        array_agg(v_now - v_task.priority * interval '10 seconds')) from unnest(v_steps) n;
    perform tasker.advance_tasks(
        v_now, array_agg(p_task_id), array_agg(n), array_agg(0), array_agg(-1), array_agg(1), p_actor, p_reason)
    from unnest(v_steps) n;
end
$$;

-- Records a result for a step by hand. The step does not run any more, and its dependents continue. The state
-- is wrong if the task is final, or the step has a result or was cancelled.
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
begin
    select t.* into v_task from tasker.tasks t where t.task_id = p_task_id for update;
    if v_task.task_id is null then
        outcome := 'not_found';
        return;
    end if;
    select s.step_no, s.state into v_step_no, v_old
    from tasker.template_steps ts
    join lateral (
        select * from tasker.steps l where l.task_id = p_task_id and l.step_no = ts.step_no for update
    ) s on true
    where ts.template_id = v_task.template_id and ts.name = p_step;
    state := v_old;
    outcome := case
        when v_step_no is null then 'no_step'
        when v_task.state in ('completed', 'failed', 'cancelled')
          or v_old in ('completed', 'resolved_manually', 'cancelled') then 'wrong_state'
        else 'done'
    end;
    if outcome <> 'done' then
        return;
    end if;
    state := 'resolved_manually';

    update tasker.steps s
    set state = 'resolved_manually', result = p_result, error = null, token = null, due_at = null, completed_at = v_now
    where s.task_id = p_task_id and s.step_no = v_step_no;
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    values (p_task_id, v_now, v_step_no, v_old, 'resolved_manually', p_actor, p_reason);

    perform tasker.advance_tasks(
        v_now, array[p_task_id], array[v_step_no], array[1], array[-(v_old = 'failed')::integer],
        array[-(v_old in ('enqueued', 'in_progress', 'waiting_for_retry'))::integer], p_actor, p_reason);
end
$$;
