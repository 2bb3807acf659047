-- Creates a batch of tasks. The arrays have one element for each request.
--
-- `p_traceparents`: the place in a trace that created the task; workers continue there.
-- `p_parent_task_ids`, `p_parent_step_nos`: the steps that wait for the tasks; null if there are none.
-- `p_latest`: the request named no version, and the template was the newest version when the caller looked it
-- up. Each namespace has its own idempotency keys. Outcomes:
--   created   the task is stored and its first steps are in the queue
--   existing  the same request used this idempotency key before; `task_id` is the task of that request
--   conflict  another request used this idempotency key before; `task_id` is the task of that request
--   outdated  the template has a newer version or was deleted; the caller must look it up again
create or replace function tasker.create_tasks(
    p_task_ids uuid[], p_template_ids bigint[], p_latest boolean[], p_contexts jsonb[], p_priorities smallint[],
    p_tags jsonb[], p_idempotency_keys text[], p_request_hashes bytea[], p_traceparents text[],
    p_parent_task_ids uuid[] default null, p_parent_step_nos smallint[] default null
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
    v_asking_tasks uuid[];
    v_asking_steps smallint[];
begin
    if cardinality(p_task_ids) = 1 and p_idempotency_keys[1] is null and tasker.short_way() then
        ordinal := 1;
        task_id := p_task_ids[1];
        created_at := v_now;
        outcome := tasker.create_task(
            v_now, p_task_ids[1], p_template_ids[1], p_latest[1], p_contexts[1], p_priorities[1], p_tags[1],
            p_traceparents[1]);
        if outcome is not null then
            return next;
            return;
        end if;
    end if;

    -- In the order of the idempotency keys, so that batches that share keys cannot deadlock.
    with created as (
        insert into tasker.tasks (
            task_id, template_id, created_at, state, priority, total_steps, active_steps, namespace,
            request_hash, idempotency_key, tags, context, plain, traceparent, parent_task_id, parent_step_no)
        select r.task_id, t.template_id, v_now, 'pending', r.priority, t.total_steps, t.root_steps, t.namespace,
               r.request_hash, r.idempotency_key, r.tags, r.context, t.plain, r.traceparent, r.parent_task_id,
               r.parent_step_no
        from unnest(
                 p_task_ids, p_template_ids, p_latest, p_contexts, p_priorities, p_tags, p_idempotency_keys,
                 p_request_hashes, p_traceparents, p_parent_task_ids, p_parent_step_nos
             ) r(task_id, template_id, latest, context, priority, tags, idempotency_key, request_hash, traceparent,
                 parent_task_id, parent_step_no)
        join tasker.task_templates t on t.template_id = r.template_id
        where not r.latest or t.template_id = (
            select l.template_id from tasker.task_templates l
            where l.namespace = t.namespace and l.name = t.name
            order by l.version_key desc limit 1)
        order by r.idempotency_key, t.namespace, r.task_id
        -- Whatever the index: an upgrade removes the older one after it has replaced this function.
        on conflict do nothing
        returning task_id, template_id, namespace, priority, plain
    ), new_steps as (
        insert into tasker.steps (task_id, step_no, pending_dependencies, state)
        select c.task_id, s.step_no, cardinality(s.dependencies),
               (case when s.dependencies = '{}' then 'enqueued' else 'pending' end)::tasker.state
        from created c join tasker.template_steps s on s.template_id = c.template_id
        returning task_id, step_no, state
    ), roots as materialized (
        select n.task_id, n.step_no, c.namespace, v_now - c.priority * interval '10 seconds' as visible_at,
               not c.plain and exists (
                   select from tasker.template_steps ts
                   where ts.template_id = c.template_id and ts.step_no = n.step_no and ts.admission is not null) as asks
        from new_steps n join created c on c.task_id = n.task_id where n.state = 'enqueued'
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, to_state)
        select c.task_id, v_now, null::smallint, 'pending'::tasker.state from created c
        union all
        select r.task_id, v_now, r.step_no, 'enqueued' from roots r where not r.asks
    )
    select array(select c.task_id from created c), array_agg(r.namespace) filter (where not r.asks),
           array_agg(r.task_id) filter (where not r.asks), array_agg(r.step_no) filter (where not r.asks),
           array_agg(r.visible_at) filter (where not r.asks),
           array_agg(r.task_id) filter (where r.asks), array_agg(r.step_no) filter (where r.asks)
    into v_created, v_root_namespaces, v_root_tasks, v_root_steps, v_visible_at, v_asking_tasks, v_asking_steps
    from roots r;

    if v_root_tasks is not null then
        perform tasker.enqueue(v_root_namespaces, v_root_tasks, v_root_steps, v_visible_at);
    end if;
    if v_asking_tasks is not null then
        perform tasker.admit_roots(v_now, v_asking_tasks, v_asking_steps);
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
    from unnest(p_task_ids, p_template_ids, p_idempotency_keys, p_request_hashes) with ordinality
             r(task_id, template_id, idempotency_key, request_hash, ordinal)
    left join tasker.task_templates t on t.template_id = r.template_id
    left join tasker.tasks e on e.namespace = t.namespace and e.idempotency_key = r.idempotency_key;
end
$$;

-- Creates one task without an idempotency key, the short way. Returns 'created'. It changes nothing and returns null if
-- the template is outdated or its workflow takes shape while it runs.
create or replace function tasker.create_task(
    p_now timestamptz, p_task_id uuid, p_template_id bigint, p_latest boolean, p_context jsonb, p_priority smallint,
    p_tags jsonb, p_traceparent text
)
returns text
language plpgsql as $$
declare
    t record;
    v_roots smallint[];
    v_visible_at timestamptz := p_now - p_priority * interval '10 seconds';
begin
    select tt.namespace, tt.total_steps, tt.root_steps into t
    from tasker.task_templates tt
    where tt.template_id = p_template_id and tt.plain and (not p_latest or tt.template_id = (
        select l.template_id from tasker.task_templates l
        where l.namespace = tt.namespace and l.name = tt.name
        order by l.version_key desc limit 1));
    if not found then
        return null;
    end if;
    insert into tasker.tasks (
        task_id, template_id, created_at, state, priority, total_steps, active_steps, namespace, tags, context,
        traceparent)
    values (
        p_task_id, p_template_id, p_now, 'pending', p_priority, t.total_steps, t.root_steps, t.namespace, p_tags,
        p_context, p_traceparent);
    with created as (
        insert into tasker.steps as s (task_id, step_no, pending_dependencies, state)
        select p_task_id, ts.step_no, cardinality(ts.dependencies),
               (case when ts.dependencies = '{}' then 'enqueued' else 'pending' end)::tasker.state
        from tasker.template_steps ts where ts.template_id = p_template_id
        returning s.step_no, s.state
    )
    select array_agg(c.step_no order by c.step_no) into v_roots from created c where c.state = 'enqueued';
    insert into tasker.transitions (task_id, at, step_no, to_state)
    select p_task_id, p_now, null::smallint, 'pending'::tasker.state
    union all
    select p_task_id, p_now, n, 'enqueued' from unnest(v_roots) n;
    execute format('select tasker_queues.%I($1, $2, $3)', tasker.queue_function('send', t.namespace))
    using array_fill(p_task_id, array[t.root_steps::integer]), v_roots,
          array_fill(v_visible_at, array[t.root_steps::integer]);
    perform tasker.wake(t.namespace, array[v_visible_at]);
    return 'created';
end
$$;
