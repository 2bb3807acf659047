-- Creates a batch of tasks. The arrays have one element for each request.
--
-- `p_latest`: the request named no version, and the template was the newest version when the caller looked it
-- up. Outcomes:
--   created   the task is stored and its first steps are in the queue
--   existing  the same request used this idempotency key before; `task_id` is the task of that request
--   conflict  another request used this idempotency key before; `task_id` is the task of that request
--   outdated  the template has a newer version or was deleted; the caller must look it up again
create or replace function tasker.create_tasks(
    p_task_ids uuid[], p_template_ids bigint[], p_latest boolean[], p_contexts jsonb[], p_priorities smallint[],
    p_tags jsonb[], p_idempotency_keys text[], p_request_hashes bytea[]
)
returns table (ordinal bigint, task_id uuid, outcome text, created_at timestamptz)
language plpgsql
as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_created uuid[];
    v_root_namespaces text[];
    v_root_tasks uuid[];
    v_root_steps smallint[];
    v_visible_at timestamptz[];
begin
    -- In the order of the idempotency keys, so that batches that share keys cannot deadlock.
    with created as (
        insert into tasker.tasks (
            task_id, template_id, created_at, state, priority, total_steps, active_steps, namespace,
            request_hash, idempotency_key, tags, context)
        select r.task_id, t.template_id, v_now, 'pending', r.priority, t.total_steps, t.root_steps, t.namespace,
               r.request_hash, r.idempotency_key, r.tags, r.context
        from unnest(
                 p_task_ids, p_template_ids, p_latest, p_contexts, p_priorities, p_tags, p_idempotency_keys,
                 p_request_hashes
             ) r(task_id, template_id, latest, context, priority, tags, idempotency_key, request_hash)
        join tasker.task_templates t on t.template_id = r.template_id
        where not r.latest or t.template_id = (
            select l.template_id from tasker.task_templates l
            where l.namespace = t.namespace and l.name = t.name
            order by l.version_key desc limit 1)
        order by r.idempotency_key, r.task_id
        on conflict (idempotency_key) where idempotency_key is not null do nothing
        returning task_id, template_id, namespace, priority
    ), new_steps as (
        insert into tasker.steps (task_id, step_no, pending_dependencies, state)
        select c.task_id, s.step_no, cardinality(s.dependencies),
               (case when s.dependencies = '{}' then 'enqueued' else 'pending' end)::tasker.state
        from created c join tasker.template_steps s on s.template_id = c.template_id
        returning task_id, step_no, state
    ), roots as materialized (
        select n.task_id, n.step_no, c.namespace, v_now - c.priority * interval '10 seconds' as visible_at
        from new_steps n join created c on c.task_id = n.task_id where n.state = 'enqueued'
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, to_state)
        select c.task_id, v_now, null::smallint, 'pending'::tasker.state from created c
        union all
        select r.task_id, v_now, r.step_no, 'enqueued' from roots r
    )
    select array(select c.task_id from created c), array_agg(r.namespace), array_agg(r.task_id), array_agg(r.step_no),
           array_agg(r.visible_at)
    into v_created, v_root_namespaces, v_root_tasks, v_root_steps, v_visible_at
    from roots r;

    if v_root_tasks is not null then
        perform tasker.enqueue(v_root_namespaces, v_root_tasks, v_root_steps, v_visible_at);
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
