-- Creates a batch of tasks; the arrays have one element per request.
--
-- `p_latest`: the request named no version, and the template was the newest one when the caller looked.
-- Outcome of each request:
--   created   the task is stored, with this time of creation, and its first steps are in the queue
--   existing  the idempotency key was used before by the same request: that task's id
--   conflict  the idempotency key was used before by another request: that task's id
--   outdated  a newer version of the template has come, or the template is gone: look again
create function tasker.create_tasks(
    p_task_ids uuid[], p_template_ids bigint[], p_latest boolean[], p_contexts jsonb[], p_priorities smallint[],
    p_tags jsonb[], p_idempotency_keys text[], p_request_hashes bytea[]
)
returns table (ordinal bigint, task_id uuid, outcome text, created_at timestamptz)
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_created uuid[];
begin
    -- In the order of the keys, so that batches that share keys cannot wait for each other in a circle.
    with created as (
        insert into tasker.tasks (
            task_id, template_id, created_at, state, priority, total_steps, active_steps, namespace,
            request_hash, idempotency_key, tags, context)
        select r.task_id, t.template_id, v_now, 'pending', r.priority, t.total_steps, t.root_steps, t.namespace,
               r.request_hash, r.idempotency_key, r.tags, r.context
        from unnest(p_task_ids, p_template_ids, p_latest, p_contexts, p_priorities, p_tags, p_idempotency_keys, p_request_hashes)
                 r(task_id, template_id, latest, context, priority, tags, idempotency_key, request_hash)
        join tasker.task_templates t on t.template_id = r.template_id
        where not r.latest or t.template_id = (
            select l.template_id from tasker.task_templates l
            where l.namespace = t.namespace and l.name = t.name
            order by l.version_key desc limit 1)
        order by r.idempotency_key, r.task_id
        on conflict (idempotency_key) where idempotency_key is not null do nothing
        returning task_id
    )
    select array_agg(created.task_id) into v_created from created;

    if v_created is not null then
        insert into tasker.steps (task_id, step_no, pending_dependencies, state)
        select t.task_id, s.step_no, cardinality(s.dependencies),
               (case when s.dependencies = '{}' then 'enqueued' else 'pending' end)::tasker.state
        from unnest(v_created) c(task_id)
        join tasker.tasks t on t.task_id = c.task_id
        join tasker.template_steps s on s.template_id = t.template_id;

        perform tasker.enqueue(
            array_agg(t.namespace), array_agg(t.task_id), array_agg(s.step_no),
            array_agg(v_now - t.priority * interval '10 seconds'))
        from unnest(v_created) c(task_id)
        join tasker.tasks t on t.task_id = c.task_id
        join tasker.template_steps s on s.template_id = t.template_id and s.dependencies = '{}';

        insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
        select c.task_id, v_now, null::smallint, null::tasker.state, 'pending'::tasker.state from unnest(v_created) c(task_id)
        union all
        select t.task_id, v_now, s.step_no, null, 'enqueued'
        from unnest(v_created) c(task_id)
        join tasker.tasks t on t.task_id = c.task_id
        join tasker.template_steps s on s.template_id = t.template_id and s.dependencies = '{}';
    end if;

    return query
    select r.ordinal,
           coalesce(e.task_id, r.task_id),
           case
               when r.task_id = any (v_created) then 'created'
               when e.task_id is null then 'outdated'
               when e.request_hash = r.request_hash then 'existing'
               else 'conflict'
           end,
           v_now
    from unnest(p_task_ids, p_idempotency_keys, p_request_hashes) with ordinality
             r(task_id, idempotency_key, request_hash, ordinal)
    left join tasker.tasks e on e.idempotency_key = r.idempotency_key;
end
$$;
