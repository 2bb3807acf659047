-- Workflows that take shape while they run: groups. A step that is a batch worker or has `map` is a group. Once its
-- dependencies have settled, it gets a child for each batch or element, in the same commit. A child is a step with a
-- number from `first_child()` on, which runs the handler of its group with an input of its own.
--
-- The group waits for its children as other steps wait for dependencies: `pending_dependencies` counts the children that
-- have not settled. At zero the group completes. At most `parallelism` children are active. Each child that ends lets
-- the next one start.

-- Children have numbers from here on. It is more than a template has steps.
create or replace function tasker.first_child() returns smallint
language sql immutable parallel safe
return 10000::smallint;

-- The most children of a group. A task can have twice as many, because a message names a step by a number below 30,000.
create or replace function tasker.max_children() returns integer
language sql immutable parallel safe
return 10000;

-- Creates the children of a group, and starts the first ones. Returns the changes that `advance_tasks` must apply.
create or replace function tasker.expand_step(p_now timestamptz, p_group tasker.admitted_step)
returns table (task_id uuid, step_no smallint, settled integer, failed integer, active integer)
language plpgsql as $$
#variable_conflict use_column
declare
    v_expand jsonb := p_group.admission -> 'expand';
    v_parallelism integer := (v_expand ->> 'parallelism')::integer;
    v_items jsonb;
    v_no_op boolean;
    v_count integer;
    v_error jsonb;
    v_first integer;
begin
    select case v_expand ->> 'kind'
        when 'map' then s.result #> array(select jsonb_array_elements_text(v_expand -> 'path'))
        else case s.result #>> '{batch_processing_outcome,type}'
            when 'create_batches' then s.result #> '{batch_processing_outcome,cursor_configs}'
            -- The published format runs one batch that does nothing.
            else '[{"batch_id": "000"}]' end
        end, s.result #>> '{batch_processing_outcome,type}' = 'no_batches'
    into v_items, v_no_op
    from tasker.steps s where s.task_id = p_group.task_id and s.step_no = (v_expand ->> 'step')::smallint;

    if jsonb_typeof(v_items) is distinct from 'array' then
        v_error := jsonb_build_object('kind', 'bad_map', 'message', format(
            'the result of `%s` has %s%s, where `map` expects a list', (
                select ts.name from tasker.tasks t join tasker.template_steps ts on ts.template_id = t.template_id
                where t.task_id = p_group.task_id and ts.step_no = (v_expand ->> 'step')::smallint),
            coalesce(jsonb_typeof(v_items), 'nothing'), tasker.at_pointer(v_expand -> 'path')));
    else
        v_count := jsonb_array_length(v_items);
        select greatest(max(s.step_no) + 1, tasker.first_child()) into v_first
        from tasker.steps s where s.task_id = p_group.task_id;
        if v_count > tasker.max_children() or v_first + v_count > 30000 then
            v_error := jsonb_build_object('kind', 'too_many_children', 'message', format(
                'the list has %s elements; a step can have %s children, and a task twice as many',
                v_count, tasker.max_children()));
        end if;
    end if;
    if v_error is not null then
        update tasker.steps s set state = 'failed', error = v_error, completed_at = p_now
        where s.task_id = p_group.task_id and s.step_no = p_group.step_no;
        insert into tasker.transitions (task_id, at, step_no, from_state, to_state, reason, error_kind)
        values (p_group.task_id, p_now, p_group.step_no, 'pending', 'failed', v_error ->> 'message', v_error ->> 'kind');
        return query select p_group.task_id, p_group.step_no, 0, 1, -1;
        return;
    elsif v_count = 0 then
        update tasker.steps s
        set state = 'completed', completed_at = p_now, result = tasker.group_result(0, 0), first_child = v_first,
            children = 0, next_child = v_first, failed_children = 0
        where s.task_id = p_group.task_id and s.step_no = p_group.step_no;
        insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
        values (p_group.task_id, p_now, p_group.step_no, 'pending', 'completed');
        return query select p_group.task_id, p_group.step_no, 1, 0, -1;
        return;
    end if;

    insert into tasker.steps (task_id, step_no, pending_dependencies, state, definition, name, input)
    select p_group.task_id, v_first + e.nth - 1, 1, 'pending', p_group.step_no,
           p_group.name || '_' || case v_expand ->> 'kind' when 'map' then (e.nth - 1)::text else e.item ->> 'batch_id' end,
           case v_expand ->> 'kind'
               when 'map' then jsonb_build_object('item', e.item, 'index', e.nth - 1)
               else jsonb_build_object('initialization', jsonb_build_object(
                   'cursor', e.item, 'is_no_op', v_no_op, 'batch_metadata', jsonb_build_object(
                       'cursor_field', v_expand -> 'cursor_field', 'failure_strategy', v_expand -> 'failure_strategy')))
           end
    from jsonb_array_elements(v_items) with ordinality e(item, nth);
    update tasker.steps s
    set state = 'pending', pending_dependencies = v_count, started_at = p_now, first_child = v_first, children = v_count,
        next_child = v_first, failed_children = 0
    where s.task_id = p_group.task_id and s.step_no = p_group.step_no;
    update tasker.tasks t set total_steps = t.total_steps + v_count where t.task_id = p_group.task_id;
    return query
    select p_group.task_id, p_group.step_no, 0, 0,
           tasker.start_children(p_now, p_group.task_id, p_group.step_no, v_parallelism) - 1;
end
$$;

-- What a group has as its result.
create or replace function tasker.group_result(p_children integer, p_failed integer) returns jsonb
language sql immutable parallel safe
return jsonb_build_object('children', p_children, 'failed', p_failed);

-- Starts up to `p_count` children of a group, in order. Returns how many.
create or replace function tasker.start_children(p_now timestamptz, p_task_id uuid, p_group smallint, p_count integer)
returns integer
language plpgsql as $$
#variable_conflict use_column
declare
    v_children smallint[];
begin
    select array_agg(c.step_no) into v_children
    from tasker.steps g
    cross join lateral (
        select l.step_no from tasker.steps l
        where l.task_id = p_task_id and l.step_no >= g.next_child and l.step_no < g.first_child + g.children
          and l.state = 'pending'
        order by l.step_no limit p_count
    ) c
    where g.task_id = p_task_id and g.step_no = p_group and g.state = 'pending';
    if v_children is null then
        return 0;
    end if;
    update tasker.steps s set state = 'enqueued', pending_dependencies = 0
    from unnest(tasker.keys(p_task_id, v_children), v_children) c(task_id, step_no)
    where s.task_id = c.task_id and s.step_no = c.step_no;
    update tasker.steps s set next_child = v_children[cardinality(v_children)] + 1
    where s.task_id = p_task_id and s.step_no = p_group;
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
    select p_task_id, p_now, c, 'pending', 'enqueued' from unnest(v_children) c;
    perform tasker.enqueue(
        array_agg(t.namespace), array_agg(p_task_id), array_agg(c),
        array_agg(p_now - t.priority * interval '10 seconds'))
    from tasker.tasks t, unnest(v_children) c where t.task_id = p_task_id;
    return cardinality(v_children);
end
$$;

-- Counts children that ended, failed or continue for their groups, and starts the next ones. The arguments are changes as
-- in `advance_tasks`. Returns these changes and those that follow from them.
--
-- What happens when a child fails for good is the `failure_strategy` of its group:
--   continue_on_failure  it settles; what depends on the group receives the error
--   isolate              the others continue; the group waits until an operator retries or resolves the child
--   fail_fast            the same, and no other child starts meanwhile
create or replace function tasker.settle_children(
    p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[], p_settled integer[], p_failed integer[], p_active integer[]
)
returns table (task_id uuid, step_no smallint, settled integer, failed integer, active integer)
language plpgsql as $$
#variable_conflict use_column
declare
    g record;
    v_start integer;
begin
    return query
    select c.task_id, c.step_no, c.settled + o.tolerated, c.failed - o.tolerated, c.active
    from unnest(p_task_ids, p_step_nos, p_settled, p_failed, p_active) c(task_id, step_no, settled, failed, active)
    cross join lateral (
        select (c.step_no >= tasker.first_child() and c.failed > 0
            and tasker.failure_strategy(c.task_id, c.step_no) = 'continue_on_failure')::integer as tolerated
    ) o;

    for g in
        select s.task_id, s.definition as step_no, ts.admission #>> '{expand,failure_strategy}' as strategy,
               (ts.admission #>> '{expand,parallelism}')::integer as parallelism,
               count(*) filter (where c.failed > 0) as now_failed,
               sum(c.settled) as settled, sum(c.failed) as failed, -sum(c.active) as ended
        from unnest(p_task_ids, p_step_nos, p_settled, p_failed, p_active) c(task_id, step_no, settled, failed, active)
        cross join lateral (
            select l.* from tasker.steps l where l.task_id = c.task_id and l.step_no = c.step_no offset 0
        ) s
        join tasker.tasks t on t.task_id = s.task_id
        join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = s.definition
        where c.step_no >= tasker.first_child() and (c.settled <> 0 or c.failed <> 0 or c.active <> 0)
        group by s.task_id, s.definition, ts.admission
        order by s.task_id, s.definition
    loop
        with updated as (
            update tasker.steps s
            set pending_dependencies = n.open, failed_children = s.failed_children + g.failed,
                state = case when n.open = 0 then 'completed' else s.state end,
                completed_at = case when n.open = 0 then p_now end,
                result = case when n.open = 0 then tasker.group_result(s.children, s.failed_children + g.failed::integer) end
            from (
                select l.pending_dependencies - g.settled
                       - case when g.strategy = 'continue_on_failure' then g.now_failed else 0 end as open,
                       l.failed_children as failed_before
                from tasker.steps l where l.task_id = g.task_id and l.step_no = g.step_no
            ) n
            where s.task_id = g.task_id and s.step_no = g.step_no and s.state = 'pending'
            returning s.state, s.failed_children, n.failed_before
        ), history as (
            insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
            select g.task_id, p_now, g.step_no, 'pending', 'completed' from updated u where u.state = 'completed'
        )
        select case
            when u.state = 'completed' then -1
            when g.strategy <> 'fail_fast' then greatest(g.ended, 0)
            when u.failed_children > 0 then 0
            when u.failed_before = 0 then greatest(g.ended, 0)
            -- Children that ended while one had failed let none start.
            else greatest(g.parallelism - (
                select count(*) from tasker.steps a
                where a.task_id = g.task_id and a.definition = g.step_no
                  and a.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting')), 0)
        end
        into v_start from updated u;
        if v_start = -1 then
            return query select g.task_id, g.step_no, 1, 0, 0;
        elsif v_start > 0 then
            return query
            select g.task_id, g.step_no, 0, 0, tasker.start_children(p_now, g.task_id, g.step_no, v_start);
        end if;
    end loop;
end
$$;

-- What happens when a child fails for good.
create or replace function tasker.failure_strategy(p_task_id uuid, p_step_no smallint) returns text
language sql stable
begin atomic
    select ts.admission #>> '{expand,failure_strategy}'
    from tasker.tasks t
    join tasker.steps s on s.task_id = t.task_id and s.step_no = p_step_no
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = s.definition
    where t.task_id = p_task_id;
end;

-- The results of the dependencies of a step, by name. Steps that were skipped are missing.
--   a group with `map`  the results of its children in order
--   a batch worker      the results of its children by their names, and that of its analyzer
-- A child that failed has an object with its `error`. If the results of a group are larger than 8 MiB, their place has an
-- object with `too_large`, and the handler reads them with the API. A child of a group does not receive the list from which
-- it was made, because 10,000 children with a list of 10,000 elements are 100 million elements.
create or replace function tasker.results_of_dependencies(p_task_id uuid, p_step tasker.template_steps) returns json
language plpgsql stable as $$
begin
    return (with list as (
        select (p_step.admission #>> '{expand,step}')::smallint as step_no,
               case p_step.admission #>> '{expand,kind}'
                   when 'map' then array(select jsonb_array_elements_text(p_step.admission #> '{expand,path}'))
                   else '{batch_processing_outcome,cursor_configs}' end as path
        where p_step.admission ? 'expand'
    ), dependency as (
        select ds.name, d.step_no, d.result, d.first_child, d.children, d.state,
               case when d.state = 'completed' then ds.admission -> 'expand' end as expand
        from unnest(tasker.keys(p_task_id, p_step.dependencies), p_step.dependencies) n(task_id, step_no)
        join tasker.steps d on d.task_id = n.task_id and d.step_no = n.step_no
        join tasker.template_steps ds on ds.template_id = p_step.template_id and ds.step_no = d.step_no
        where d.state <> 'skipped'
    ), child as (
        select l.*, l.stored_bytes > 8388608 or sum(
                   -- Stored results are compressed. Those of a group that is too large even so are not read.
                   case when l.stored_bytes <= 8388608 then octet_length(l.result::text) end
               ) over (partition by l.group_name) > 8388608 as too_large
        from (
            select p.name as group_name, p.expand ->> 'kind' as kind, c.step_no, c.name,
                   coalesce(c.result, jsonb_build_object('error', c.error)) as result,
                   coalesce(sum(pg_column_size(c.result)) over (partition by p.step_no), 0) as stored_bytes
            from dependency p
            join tasker.steps c
                on c.task_id = p_task_id and c.step_no >= p.first_child and c.step_no < p.first_child + p.children
            where p.expand is not null
        ) l
    ), result as (
        select p.name, (case when l.path is null then p.result else p.result #- l.path end)::json as result
        from dependency p left join list l on l.step_no = p.step_no
        where p.expand is null and l.path is distinct from '{}'
        union all
        select p.name, coalesce(
            (select case when bool_or(c.too_large) then json_build_object('too_large', true, 'children', count(*))
                         else json_agg(c.result order by c.step_no) filter (where not c.too_large) end
             from child c where c.group_name = p.name), '[]')
        from dependency p where p.expand ->> 'kind' = 'map'
        union all
        select c.name, case when c.too_large then json_build_object('too_large', true) else c.result::json end
        from child c where c.kind = 'batches'
        union all
        select a.name, s.result::json
        from dependency p
        join tasker.template_steps a on a.template_id = p_step.template_id and a.step_no = (p.expand ->> 'step')::smallint
        join tasker.steps s on s.task_id = p_task_id and s.step_no = a.step_no
        where p.expand ->> 'kind' = 'batches' and a.step_no <> all (p_step.dependencies)
    )
    select coalesce(json_object_agg(r.name, r.result), '{}') from result r);
end
$$;
