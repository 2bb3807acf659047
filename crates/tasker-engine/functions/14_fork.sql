-- Runs a task again from a step, as a new task. The old task does not change: what is final stays final.

-- Creates the task `p_fork_id` with the input of the task `p_task_id` and the results of all steps that do not depend
-- on the step `p_step`. That step, the steps that depend on it, and the steps that have no result yet run in the new
-- task. It copies no idempotency key. Outcomes: done, not_found, no_step (see `07_operate.sql`).
create or replace function tasker.fork_task(
    p_task_id uuid, p_step text, p_fork_id uuid, p_actor text, p_reason text, p_traceparent text,
    out outcome text, out state tasker.state
)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_task tasker.tasks;
    v_from smallint;
    v_kept smallint[];
    v_ready smallint[];
    v_asking smallint[];
    v_origin text := 'copied from task ' || p_task_id;
begin
    -- Whoever records a result locks the task first, so no result is recorded while it is copied.
    select t.* into v_task from tasker.tasks t where t.task_id = p_task_id for update;
    select ts.step_no into v_from from tasker.template_steps ts
    where ts.template_id = v_task.template_id and ts.name = p_step;
    state := v_task.state;
    outcome := case when v_task.task_id is null then 'not_found' when v_from is null then 'no_step' else 'done' end;
    if outcome <> 'done' then
        return;
    end if;

    with recursive affected(step_no) as (
        select v_from
        union
        select d.step_no from affected a
        join tasker.template_steps ts on ts.template_id = v_task.template_id and ts.step_no = a.step_no
        cross join lateral unnest(ts.dependents) d(step_no)
    )
    select coalesce(array_agg(s.step_no), '{}') into v_kept
    from tasker.steps s
    where s.task_id = p_task_id and s.state in ('completed', 'resolved_manually', 'skipped') and s.definition is null
      and s.step_no not in (select a.step_no from affected a);
    v_ready := array(
        select ts.step_no from tasker.template_steps ts
        where ts.template_id = v_task.template_id and ts.step_no <> all (v_kept) and ts.dependencies <@ v_kept
        order by ts.step_no);

    insert into tasker.tasks (
        task_id, template_id, created_at, state, priority, total_steps, completed_steps, active_steps, namespace, tags,
        context, plain, traceparent)
    select p_fork_id, v_task.template_id, v_now, 'pending', v_task.priority, tt.total_steps + c.children,
           cardinality(v_kept) + c.children, cardinality(v_ready), v_task.namespace, v_task.tags, v_task.context,
           v_task.plain, p_traceparent
    from tasker.task_templates tt,
         (select count(*) as children from tasker.steps s where s.task_id = p_task_id and s.definition = any (v_kept)) c
    where tt.template_id = v_task.template_id;
    -- A group that is copied has its children.
    insert into tasker.steps (
        task_id, step_no, pending_dependencies, attempts, state, started_at, completed_at, worker_id, result, error,
        skipped_dependencies, input, definition, name, first_child, children, next_child, failed_children)
    select p_fork_id, s.step_no, 0, s.attempts, s.state, s.started_at, s.completed_at, s.worker_id, s.result, s.error,
           s.skipped_dependencies, s.input, s.definition, s.name, s.first_child, s.children, s.next_child,
           s.failed_children
    from tasker.steps s
    where s.task_id = p_task_id and (s.step_no = any (v_kept) or s.definition = any (v_kept));
    insert into tasker.steps (task_id, step_no, pending_dependencies, skipped_dependencies, state)
    select p_fork_id, ts.step_no,
           (select count(*) from unnest(ts.dependencies) d(step_no) where d.step_no <> all (v_kept)),
           case when v_task.plain then 0 else (
               select count(*)
               from tasker.template_steps d
               where d.template_id = ts.template_id and d.step_no = any (ts.dependencies) and d.step_no = any (v_kept)
                 and ts.step_no <> all (tasker.chosen_dependents(p_task_id, d))) end,
           (case when ts.step_no = any (v_ready) then 'enqueued' else 'pending' end)::tasker.state
    from tasker.template_steps ts
    where ts.template_id = v_task.template_id and ts.step_no <> all (v_kept);
    v_asking := array(
        select ts.step_no
        from tasker.template_steps ts
        join tasker.steps s on s.task_id = p_fork_id and s.step_no = ts.step_no
        where ts.template_id = v_task.template_id and ts.step_no = any (v_ready)
          and (ts.admission is not null or s.skipped_dependencies > 0));
    v_ready := array(select n from unnest(v_ready) n where n <> all (v_asking));
    insert into tasker.forks (task_id, forked_from, step_no) values (p_fork_id, p_task_id, v_from);
    insert into tasker.transitions (task_id, at, step_no, to_state, actor, reason)
    select p_fork_id, v_now, null::smallint, 'pending'::tasker.state, p_actor,
           concat_ws(': ', 'forked from task ' || p_task_id || ' at step ' || p_step, p_reason)
    union all
    select p_fork_id, v_now, s.step_no, s.state, p_actor, v_origin
    from tasker.steps s where s.task_id = p_fork_id and s.step_no = any (v_kept)
    union all
    select p_fork_id, v_now, n, 'enqueued', null, null from unnest(v_ready) n;
    perform tasker.enqueue(
        array_agg(v_task.namespace), array_agg(p_fork_id), array_agg(n),
        array_agg(v_now - v_task.priority * interval '10 seconds')) from unnest(v_ready) n having count(*) > 0;
    perform tasker.admit_roots(v_now, array_agg(p_fork_id), array_agg(n)) from unnest(v_asking) n having count(*) > 0;
    perform tasker.store_values(array[p_fork_id]);
end
$$;
