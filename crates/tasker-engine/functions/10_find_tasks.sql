-- Finding tasks.

-- Creates tasks like `create_tasks`, together with the values by which they are found: the tags, and what their
-- templates call searchable. `p_value_tasks`, `p_names` and `p_values` have one element for each value. Callers without
-- values call `create_tasks` and pay nothing.
create or replace function tasker.create_findable_tasks(
    p_task_ids uuid[], p_template_ids bigint[], p_latest boolean[], p_contexts jsonb[], p_priorities smallint[],
    p_tags jsonb[], p_idempotency_keys text[], p_request_hashes bytea[], p_traceparents text[],
    p_value_tasks uuid[], p_names text[], p_values text[]
)
returns table (ordinal bigint, task_id uuid, outcome text, created_at timestamptz)
language plpgsql as $$
#variable_conflict use_column
begin
    return query
    select c.ordinal, c.task_id, c.outcome, c.created_at
    from tasker.create_tasks(
        p_task_ids, p_template_ids, p_latest, p_contexts, p_priorities, p_tags, p_idempotency_keys,
        p_request_hashes, p_traceparents) c;
    insert into tasker.task_values (task_id, name, value)
    select v.task_id, v.name, v.value from unnest(p_value_tasks, p_names, p_values) v(task_id, name, value)
    -- Not for requests whose task existed already or was not created.
    where exists (select from tasker.tasks t where t.task_id = v.task_id)
    on conflict do nothing;
end
$$;

-- Stores the values by which tasks are found, for tasks that the engine itself has created. A tag of a list has no name.
-- Values that are longer than a search can ask for are cut.
create or replace function tasker.store_values(p_task_ids uuid[]) returns void
language sql as $$
    insert into tasker.task_values (task_id, name, value)
    select t.task_id, v.name, left(v.value #>> '{}', 255)
    from unnest(p_task_ids) n
    join tasker.tasks t on t.task_id = n
    join tasker.task_templates tt on tt.template_id = t.template_id
    cross join lateral (
        select '' as name, l.tag as value
        from jsonb_array_elements(case jsonb_typeof(t.tags) when 'array' then t.tags else '[]' end) l(tag)
        union all
        select o.name, o.tag
        from jsonb_each(case jsonb_typeof(t.tags) when 'object' then t.tags else '{}' end) o(name, tag)
        union all
        select p.pointer, t.context #> array(
            select replace(replace(token, '~1', '/'), '~0', '~')
            from string_to_table(substr(p.pointer, 2), '/') token)
        from jsonb_array_elements_text(coalesce(tt.definition -> 'searchable', '[]')) p(pointer)
    ) v
    where jsonb_typeof(v.value) in ('string', 'number', 'boolean')
    on conflict do nothing
$$;

-- A page of the tasks that match all conditions, newest first. A condition that is null matches every task.
--   p_template, p_version  the template
--   p_name, p_value        a tag or a searchable value
--   p_key                  an idempotency key
--   p_id, p_text           a task's id, or a text that is the start of an id, an idempotency key or a value of any name
--   p_from, p_before       the ids, which sort by the time of creation: from the first (inclusive), before the second
--
-- The search looks at no more than `p_scan` tasks that match the conditions of an index, so its time is bounded. `next`
-- is the `p_before` of the next page. It is null if no more tasks can match. A page may have fewer tasks than `p_limit`
-- and a `next`.
create or replace function tasker.find_tasks(
    p_namespaces text[], p_states tasker.state[], p_template text, p_version text, p_name text, p_value text,
    p_key text, p_id uuid, p_text text, p_from uuid, p_before uuid, p_limit integer, p_scan integer,
    out task_ids uuid[], out next uuid
)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_from uuid := coalesce(p_from, '00000000-0000-0000-0000-000000000000');
    v_before uuid := coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_namespaces text[];
    v_templates bigint[];
    -- The ids that start like `p_text`: a range of the primary key. Null if it is not the start of an id.
    v_start text := case when p_text ~* '^[0-9a-f]{8}[0-9a-f-]{0,27}$' then replace(p_text, '-', '') end;
    v_first_id uuid := case when length(v_start) < 32 then rpad(v_start, 32, '0') end;
    v_last_id uuid := case when length(v_start) < 32 then rpad(v_start, 32, 'f') end;
    v_seen uuid[];
    -- Whether all of `v_seen` have the value.
    v_has_value boolean := p_value is null;
begin
    -- The templates of this name, and their namespaces: only these are searched.
    if p_template is not null then
        select array_agg(tt.template_id), array_agg(distinct tt.namespace) into v_templates, v_namespaces
        from tasker.task_templates tt
        where tt.name = p_template and (p_version is null or tt.version = p_version)
          and (p_namespaces is null or tt.namespace = any (p_namespaces));
    else
        v_namespaces := coalesce(p_namespaces, array(select n.namespace from tasker.namespaces n));
    end if;

    -- 1. The newest tasks that match the conditions of one index.
    if p_text is not null or p_id is not null then
        v_seen := array(
            select f.task_id from (
                select t.task_id from tasker.tasks t where t.task_id = p_id
                union
                select t.task_id from tasker.tasks t
                where t.namespace = any (v_namespaces) and t.idempotency_key = p_text
                union
                select i.task_id from (
                    select task_id from tasker.tasks
                    where task_id >= v_first_id and task_id <= v_last_id and task_id >= v_from and task_id < v_before
                    order by task_id desc limit p_scan) i
                union
                select v.task_id from (
                    select task_id from tasker.task_values
                    where value = p_text and task_id >= v_from and task_id < v_before
                    order by task_id desc limit p_scan) v
            ) f
            order by f.task_id desc limit p_scan);
    elsif p_key is not null then
        v_seen := array(
            select t.task_id from tasker.tasks t where t.namespace = any (v_namespaces) and t.idempotency_key = p_key);
    elsif p_value is not null then
        v_seen := array(
            select v.task_id from tasker.task_values v
            where v.value = p_value and v.name = p_name and v.task_id >= v_from and v.task_id < v_before
            order by v.task_id desc limit p_scan);
        v_has_value := true;
    else
        v_seen := array(
            select l.task_id
            from tasker.newest_tasks(v_namespaces, coalesce(p_states, tasker.task_states()), v_from, v_before, p_scan) l);
    end if;

    -- 2. Those of them that match all conditions.
    task_ids := array(
        select t.task_id
        from unnest(v_seen) s(task_id) join tasker.tasks t on t.task_id = s.task_id
        where t.task_id >= v_from and t.task_id < v_before
          and t.namespace = any (v_namespaces)
          and (p_states is null or t.state = any (p_states))
          and (v_templates is null or t.template_id = any (v_templates))
          and (p_key is null or t.idempotency_key = p_key)
          -- Not `exists`: the planner might read all tasks with the value at once.
          and (v_has_value or 1 = (
              select count(*) from tasker.task_values v
              where v.task_id = t.task_id and v.name = p_name and v.value = p_value))
        order by t.task_id desc limit p_limit);
    if cardinality(task_ids) = p_limit and v_seen[cardinality(v_seen)] < task_ids[p_limit] then
        next := task_ids[p_limit];
    elsif cardinality(v_seen) >= p_scan then
        next := v_seen[cardinality(v_seen)];
    end if;
end
$$;

-- The newest tasks of some namespaces and states, within bounds of their ids, newest first. It is a short backward scan
-- of one index for each namespace and state, however many tasks there are. If pages cost nothing, the planner counts rows
-- only, and chooses that index. Otherwise it may walk the primary key, whose order is that of the table, in search of a
-- rare state.
create or replace function tasker.newest_tasks(
    p_namespaces text[], p_states tasker.state[], p_from uuid, p_before uuid, p_limit integer
)
returns table (task_id uuid)
language sql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off set seq_page_cost = 0 set random_page_cost = 0
set plan_cache_mode = force_generic_plan
as $$
    select newest.task_id
    from (select distinct n from unnest(p_namespaces) n) n(namespace)
    cross join (select distinct s from unnest(p_states) s) s(state)
    cross join lateral (
        select t.task_id from tasker.tasks t
        where t.namespace = n.namespace and t.state = s.state and t.task_id >= p_from and t.task_id < p_before
        order by t.task_id desc limit p_limit
    ) newest
    order by newest.task_id desc limit p_limit
$$;

-- The states that a task can have.
create or replace function tasker.task_states() returns tasker.state[]
language sql immutable parallel safe
return '{pending,in_progress,completed,failed,cancelled,blocked_by_failures}'::tasker.state[];
