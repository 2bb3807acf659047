-- Workflows that take shape while they run: which steps run. Every step of the template has its row from the beginning.
-- A step that does not run is skipped, in the commit that decides it. It settles like a completed step, so what depends
-- on it is decided in the same call.
--
-- Which steps are skipped is a function of the graph, the results of decisions and the conditions. It does not depend on
-- the order in which steps end, because a step is decided only when all its dependencies have settled.

-- The dependents that a settled step lets run; null if it lets all of them run. A skipped step lets none run. A decision
-- lets those run that it names, and those that lead to a step that it names. An analyzer of batches lets the batch worker
-- run that it names, and all dependents that are not batch workers.
create or replace function tasker.chosen_dependents(p_task_id uuid, p_step tasker.template_steps) returns smallint[]
language plpgsql stable as $$
declare
    s record;
    v_outcome jsonb;
    v_worker text;
begin
    select l.state, l.result into s from tasker.steps l where l.task_id = p_task_id and l.step_no = p_step.step_no;
    if s.state = 'skipped' then
        return '{}';
    elsif p_step.outcome = 'decision' then
        v_outcome := s.result -> 'decision_point_outcome';
        return case when v_outcome ->> 'type' = 'create_steps'
            then tasker.branches_to(p_step, v_outcome -> 'step_names') else '{}' end;
    elsif p_step.outcome = 'batches' then
        v_worker := tasker.batch_worker(p_step, s.result);
        return array(
            select ts.step_no from tasker.template_steps ts
            where ts.template_id = p_step.template_id and ts.step_no = any (p_step.dependents)
              and (ts.admission #>> '{expand,kind}' is distinct from 'batches' or ts.name = v_worker or v_worker is null));
    end if;
    return null;
end
$$;

-- The dependents of a step that are named, or from which a named step can be reached.
create or replace function tasker.branches_to(p_step tasker.template_steps, p_names jsonb) returns smallint[]
language sql stable
begin atomic
    with recursive reached(branch, step_no) as (
        select d, d from unnest(p_step.dependents) d
        union
        select r.branch, n
        from reached r
        join tasker.template_steps ts on ts.template_id = p_step.template_id and ts.step_no = r.step_no,
        unnest(ts.dependents) n
    )
    select coalesce(array_agg(distinct r.branch), '{}')
    from reached r
    join tasker.template_steps ts on ts.template_id = p_step.template_id and ts.step_no = r.step_no
    where p_names ? ts.name;
end;

-- The batch worker that an analyzer names, in its result or in its settings. Null if it names none.
create or replace function tasker.batch_worker(p_step tasker.template_steps, p_result jsonb) returns text
language sql immutable
return coalesce(
    p_result #>> '{batch_processing_outcome,worker_template_name}', p_step.initialization ->> 'worker_template_name');

-- Why a step cannot have this result: its outcome is missing or names what does not exist. Null if it can.
create or replace function tasker.outcome_error(p_step tasker.template_steps, p_result jsonb) returns text
language plpgsql stable as $$
declare
    v_field text := case p_step.outcome when 'decision' then 'decision_point_outcome' else 'batch_processing_outcome' end;
    v_outcome jsonb := case when jsonb_typeof(p_result) = 'object' then p_result -> v_field end;
    v_name text;
    v_worker text;
begin
    if p_step.outcome is null then
        return null;
    elsif jsonb_typeof(v_outcome) is distinct from 'object' then
        return format('the result has no object `%s`', v_field);
    elsif v_outcome ->> 'type' is null or v_outcome ->> 'type' <> all (case p_step.outcome
              when 'decision' then '{no_branches,create_steps}' else '{no_batches,create_batches}' end::text[]) then
        return format('`%s.type` must be %s', v_field, case p_step.outcome
            when 'decision' then '`no_branches` or `create_steps`' else '`no_batches` or `create_batches`' end);
    elsif p_step.outcome = 'decision' then
        if v_outcome ->> 'type' = 'no_branches' then
            return null;
        elsif jsonb_typeof(v_outcome -> 'step_names') is distinct from 'array'
           or jsonb_array_length(v_outcome -> 'step_names') not between 1 and 100 then
            return '`decision_point_outcome.step_names` must be a list of 1 to 100 names of steps';
        end if;
        for v_name in select n from jsonb_array_elements_text(v_outcome -> 'step_names') n loop
            if v_name is null or tasker.branches_to(p_step, jsonb_build_array(v_name)) = '{}' then
                return format('`decision_point_outcome.step_names`: no step named `%s` depends on `%s`', v_name, p_step.name);
            end if;
        end loop;
        return null;
    end if;
    v_worker := tasker.batch_worker(p_step, p_result);
    if v_worker is not null and not exists (
        select from tasker.template_steps ts
        where ts.template_id = p_step.template_id and ts.step_no = any (p_step.dependents)
          and ts.name = v_worker and ts.admission #>> '{expand,kind}' = 'batches') then
        return format('no batch worker named `%s` depends on `%s`', v_worker, p_step.name);
    elsif v_outcome ->> 'type' = 'no_batches' then
        return null;
    elsif jsonb_typeof(v_outcome -> 'cursor_configs') is distinct from 'array'
       or jsonb_array_length(v_outcome -> 'cursor_configs') not between 1 and tasker.max_children() then
        return format('`batch_processing_outcome.cursor_configs` must be a list of 1 to %s batches', tasker.max_children());
    elsif exists (
        select from jsonb_array_elements(v_outcome -> 'cursor_configs') c
        where (jsonb_typeof(c) = 'object' and length(c ->> 'batch_id') between 1 and 100) is not true) then
        return '`batch_processing_outcome.cursor_configs`: each batch must have a `batch_id` of 1 to 100 characters';
    elsif (select count(distinct c ->> 'batch_id') < count(*)
           from jsonb_array_elements(v_outcome -> 'cursor_configs') c) then
        return '`batch_processing_outcome.cursor_configs`: two batches have the same `batch_id`';
    end if;
    select ts.name into v_name
    from jsonb_array_elements(v_outcome -> 'cursor_configs') c
    join tasker.template_steps ts on ts.template_id = p_step.template_id and ts.name = v_worker || '_' || (c ->> 'batch_id')
    limit 1;
    if v_name is not null then
        return format(
            '`batch_processing_outcome.cursor_configs`: a step of the template is named `%s`, like one of the batches', v_name);
    end if;
    return null;
end
$$;

-- Results whose outcomes cannot be used become permanent errors of their steps.
create or replace function tasker.checked_results(p_results tasker.step_result[]) returns tasker.step_result[]
language plpgsql stable as $$
begin
    return (select array_agg(
        case when e.error is null then u.r else (
            (u.r).namespace, (u.r).msg_id, (u.r).task_id, (u.r).step_no, (u.r).token, 'permanent_error',
            jsonb_build_object(
                'kind', case e.outcome when 'decision' then 'bad_decision' else 'bad_batches' end, 'message', e.error)
        )::tasker.step_result end order by u.nth)
    from (select (r.namespace, r.msg_id, r.task_id, r.step_no, r.token, r.outcome, r.payload)::tasker.step_result as r, r.nth
          from unnest(p_results) with ordinality r(namespace, msg_id, task_id, step_no, token, outcome, payload, nth)) u
    left join lateral (
        select ts.outcome, tasker.outcome_error(ts, (u.r).payload) as error
        from tasker.tasks t
        join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = (u.r).step_no
        where t.task_id = (u.r).task_id and (u.r).outcome = 'completed' and ts.outcome is not null
    ) e on true);
end
$$;

-- Where a value is, for messages: ` at /order/total`, and nothing for the whole value.
create or replace function tasker.at_pointer(p_path jsonb) returns text
language sql immutable
begin atomic
    select coalesce(' at ' || string_agg('/' || replace(replace(p.token, '~', '~0'), '/', '~1'), '' order by p.nth), '')
    from jsonb_array_elements_text(p_path) with ordinality p(token, nth);
end;

-- Whether one condition holds. `p_found` is null if the value does not exist. See `tasker_template::Comparison`.
create or replace function tasker.condition_holds(p_operator text, p_value jsonb, p_found jsonb) returns boolean
language plpgsql immutable as $$
begin
    case p_operator
        when 'equals' then return coalesce(p_found = p_value, false);
        when 'not_equals' then return p_found is distinct from p_value;
        when 'in' then return exists (select from jsonb_array_elements(p_value) v where v = p_found);
        when 'exists' then return (p_found is not null) = p_value::boolean;
        else null;
    end case;
    if jsonb_typeof(p_found) is distinct from 'number' then
        return false;
    end if;
    return case p_operator
        when 'less_than' then p_found::numeric < p_value::numeric
        when 'at_most' then p_found::numeric <= p_value::numeric
        when 'greater_than' then p_found::numeric > p_value::numeric
        when 'at_least' then p_found::numeric >= p_value::numeric
    end;
end
$$;

-- Whether all conditions of a step hold. `p_conditions` is a list of objects with the number of a dependency, a path into
-- its result, an operator and a value.
create or replace function tasker.conditions_hold(p_task_id uuid, p_conditions jsonb) returns boolean
language sql stable
begin atomic
    select coalesce(bool_and(tasker.condition_holds(
        c ->> 'operator', c -> 'value',
        d.result #> array(select jsonb_array_elements_text(c -> 'path')))), true)
    from jsonb_array_elements(p_conditions) c
    left join tasker.steps d on d.task_id = p_task_id and d.step_no = (c ->> 'step')::smallint;
end;

-- Decides about steps whose dependencies have settled and that have an admission, or a dependency that was skipped. They
-- are counted as active, and are `enqueued` without a message. Returns the changes that `advance_tasks` must apply.
create or replace function tasker.admit_steps(p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[])
returns table (task_id uuid, step_no smallint, settled integer, failed integer, active integer)
language plpgsql as $$
#variable_conflict use_column
declare
    v_admitted tasker.admitted_step[];
    v_step tasker.admitted_step;
begin
    select array_agg((
        s.task_id, s.step_no, t.namespace, t.priority,
        case
            when a.admission ->> 'join' = 'any' and s.skipped_dependencies >= cardinality(a.dependencies) then 'skip'
            when a.admission ->> 'join' is null and s.skipped_dependencies > 0 then 'skip'
            when not tasker.conditions_hold(s.task_id, coalesce(a.admission -> 'when', '[]')) then 'skip'
            when a.admission ?| '{concurrency,rate}' and tasker.gate_key_error(t.context, a.admission) is not null
                then 'fail'
            when a.admission ? 'wait' then 'wait'
            -- A step that has gates starts its child when it has passed them.
            when a.admission ? 'task' and not a.admission ?| '{concurrency,rate}' then 'task'
            when a.admission ? 'expand' then 'expand'
            else 'run'
        end, a.name, a.admission)::tasker.admitted_step order by s.task_id, s.step_no)
    into v_admitted
    from unnest(p_task_ids, p_step_nos) c(task_id, step_no)
    cross join lateral (
        select l.* from tasker.steps l where l.task_id = c.task_id and l.step_no = c.step_no offset 0
    ) s
    join tasker.tasks t on t.task_id = s.task_id
    join tasker.template_steps a on a.template_id = t.template_id and a.step_no = s.step_no;

    -- 1. Skip.
    return query
    with skipped as (
        update tasker.steps s set state = 'skipped', completed_at = p_now
        from unnest(v_admitted) a
        where a.action = 'skip' and s.task_id = a.task_id and s.step_no = a.step_no
        returning s.task_id, s.step_no
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
        select s.task_id, p_now, s.step_no, 'pending', 'skipped' from skipped s order by s.task_id, s.step_no
    )
    select s.task_id, s.step_no, 1, 0, -1 from skipped s;

    -- 2. Fail where the input has no key for a gate.
    return query
    with failed as (
        update tasker.steps s
        set state = 'failed', completed_at = p_now, error = jsonb_build_object(
            'kind', 'bad_gate_key', 'message', tasker.gate_key_error(t.context, a.admission))
        from unnest(v_admitted) a join tasker.tasks t on t.task_id = a.task_id
        where a.action = 'fail' and s.task_id = a.task_id and s.step_no = a.step_no
        returning s.task_id, s.step_no, s.error
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, from_state, to_state, reason, error_kind)
        select f.task_id, p_now, f.step_no, 'pending', 'failed', f.error ->> 'message', f.error ->> 'kind'
        from failed f order by f.task_id, f.step_no
    )
    select f.task_id, f.step_no, 0, 1, -1 from failed f;

    -- 3. Expand groups, and start child tasks.
    foreach v_step in array v_admitted loop
        if v_step.action = 'expand' then
            return query select * from tasker.expand_step(p_now, v_step);
        elsif v_step.action = 'task' then
            return query select * from tasker.start_child(p_now, v_step);
        end if;
    end loop;

    -- 4. Wait.
    if exists (select from unnest(v_admitted) a where a.action = 'wait') then
        perform tasker.enqueue(
            array_agg(p.namespace), array_agg(p.task_id), array_agg(p.step_no), array_agg(p.visible_at))
        from tasker.park_steps(p_now, array(select a from unnest(v_admitted) a where a.action = 'wait')) p
        where p.visible_at is not null having count(*) > 0;
        -- Workers ask again when the next message becomes visible.
        perform tasker.wake(n.namespace, array[p_now])
        from (select distinct a.namespace from unnest(v_admitted) a where a.action = 'wait') n;
    end if;

    -- 5. Run.
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
    select a.task_id, p_now, a.step_no, 'pending', 'enqueued' from unnest(v_admitted) a where a.action = 'run';
    if found then
        perform tasker.enqueue(
            array_agg(a.namespace), array_agg(a.task_id), array_agg(a.step_no),
            array_agg(p_now - a.priority * interval '10 seconds'))
        from unnest(v_admitted) a where a.action = 'run';
    end if;
end
$$;

-- Decides about steps of new tasks that have an admission and depend on nothing, or on nothing that has not settled.
create or replace function tasker.admit_roots(p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[]) returns void
language plpgsql as $$
begin
    perform tasker.advance_tasks(
        p_now, array_agg(c.task_id), array_agg(c.step_no), array_agg(c.settled), array_agg(c.failed), array_agg(c.active))
    from tasker.admit_steps(p_now, p_task_ids, p_step_nos) c having count(*) > 0;
end
$$;
