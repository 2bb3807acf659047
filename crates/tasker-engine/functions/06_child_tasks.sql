-- Workflows that take shape while they run: child tasks. A step with `task` creates a task in its namespace and waits for
-- its end, without a message. It needs no handler. Its `input` has the id of the `child`.
--
-- The child does not lock its parent. When it ends, it sends a message that names the step. Whoever reads the message
-- locks the parent, and then looks at the child.

-- How deep child tasks can be nested. A template that runs itself would never end. The result of each parent contains that
-- of its child, so this also bounds how deep results are nested.
create or replace function tasker.max_child_depth() returns integer
language sql immutable parallel safe
return 10;

-- How many tasks wait for the end of this one: its parent, the parent of its parent, and so on.
create or replace function tasker.child_depth(p_task_id uuid) returns integer
language sql stable
begin atomic
    with recursive line(task_id, depth) as (
        select p_task_id, 0
        union all
        select t.parent_task_id, l.depth + 1
        from line l join tasker.tasks t on t.task_id = l.task_id
        where t.parent_task_id is not null
    )
    select max(l.depth) from line l;
end;

-- Creates the child of a step whose task the caller has locked. Returns the changes that `advance_tasks` must apply. The
-- input of the child is a part of the parent's input. The input_schema of its template does not check it.
create or replace function tasker.start_child(p_now timestamptz, p_step tasker.admitted_step)
returns table (task_id uuid, step_no smallint, settled integer, failed integer, active integer)
language plpgsql as $$
#variable_conflict use_column
declare
    v_wanted jsonb := p_step.admission -> 'task';
    v_parent tasker.tasks;
    v_template_id bigint;
    v_context jsonb;
    v_child uuid;
    v_key text;
    v_error jsonb;
    v_from tasker.state := case p_step.action when 'spawn' then 'enqueued' else 'pending' end;
begin
    select t.* into v_parent from tasker.tasks t where t.task_id = p_step.task_id;
    v_context := v_parent.context #> array(select jsonb_array_elements_text(v_wanted -> 'context_from'));
    select tt.template_id into v_template_id
    from tasker.task_templates tt
    where tt.namespace = p_step.namespace and tt.name = v_wanted ->> 'template'
      and (v_wanted ->> 'version' is null or tt.version = v_wanted ->> 'version')
    order by tt.version_key desc limit 1;
    if v_template_id is null then
        v_error := jsonb_build_object('kind', 'no_template', 'message', format(
            'namespace %s has no template %s', p_step.namespace,
            concat_ws(' ', v_wanted ->> 'template', v_wanted ->> 'version')));
    elsif jsonb_typeof(v_context) is distinct from 'object' then
        v_error := jsonb_build_object('kind', 'bad_child_input', 'message', format(
            'the input has %s%s, where `context_from` expects an object', coalesce(jsonb_typeof(v_context), 'nothing'),
            tasker.at_pointer(v_wanted -> 'context_from')));
    elsif tasker.child_depth(p_step.task_id) >= tasker.max_child_depth() then
        v_error := jsonb_build_object('kind', 'too_deep', 'message', format(
            'the task is nested %s child tasks deep, and no task can be deeper', tasker.max_child_depth()));
    end if;
    if v_error is not null then
        update tasker.steps s set state = 'failed', error = v_error, completed_at = p_now
        where s.task_id = p_step.task_id and s.step_no = p_step.step_no;
        insert into tasker.transitions (task_id, at, step_no, from_state, to_state, reason, error_kind)
        values (p_step.task_id, p_now, p_step.step_no, v_from, 'failed', v_error ->> 'message', v_error ->> 'kind');
        return query select p_step.task_id, p_step.step_no, 0, 1, -1;
        return;
    end if;

    v_child := tasker.new_task_id(p_now);
    update tasker.steps s
    set state = 'waiting', started_at = p_now, input = coalesce(s.input, '{}') || jsonb_build_object('child', v_child)
    where s.task_id = p_step.task_id and s.step_no = p_step.step_no;
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
    values (p_step.task_id, p_now, p_step.step_no, v_from, 'waiting');

    -- A step that an operator retries has a child more.
    v_key := format('child:%s/%s/%s', p_step.task_id, p_step.step_no, (
        select count(*) from tasker.tasks t
        where t.parent_task_id = p_step.task_id and t.parent_step_no = p_step.step_no));
    perform tasker.create_tasks(
        array[v_child], array[v_template_id], array[false], array[v_context], array[p_step.priority], array[null::jsonb],
        array[v_key], array[sha256(convert_to(v_key, 'UTF8'))], array[v_parent.traceparent],
        array[p_step.task_id], array[p_step.step_no]);
    perform tasker.store_values(array[v_child]);
end
$$;

-- Whether a step runs a child task.
create or replace function tasker.has_child(p_template_id bigint, p_step_no smallint) returns boolean
language sql stable
begin atomic
    select exists (
        select from tasker.template_steps ts
        where ts.template_id = p_template_id and ts.step_no = p_step_no and ts.admission ? 'task');
end;

-- Creates the children of steps that have passed their gates: `action` is 'spawn'. The caller has locked their tasks.
create or replace function tasker.spawn_children(p_now timestamptz, p_steps tasker.read_step[]) returns void
language plpgsql as $$
declare
    v_step tasker.admitted_step;
begin
    if cardinality(p_steps) = 0 then
        return;
    end if;
    for v_step in
        select u.task_id, u.step_no, t.namespace, t.priority, 'spawn', ts.name, ts.admission
        from unnest(p_steps) u
        join tasker.tasks t on t.task_id = u.task_id
        join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = u.step_no
        order by u.task_id, u.step_no
    loop
        perform tasker.advance_tasks(
            p_now, array_agg(c.task_id), array_agg(c.step_no), array_agg(c.settled), array_agg(c.failed),
            array_agg(c.active))
        from tasker.start_child(p_now, v_step) c having count(*) > 0;
    end loop;
    -- Of steps whose children could not be created. `pass_gates` has locked their slots, and has locked rates after
    -- that. To reserve more rates now would lock them in another order than other calls.
    perform tasker.release_gates(
        p_now, array(select u.task_id from unnest(p_steps) u), array(select u.step_no from unnest(p_steps) u), false);
end
$$;

-- A new id of a task: a UUIDv7 of this time.
create or replace function tasker.new_task_id(p_at timestamptz) returns uuid
language plpgsql as $$
begin
    return overlay(
        overlay(gen_random_uuid()::text placing left(tasker.smallest_uuid_of(p_at)::text, 13) from 1) placing '7' from 15);
end
$$;

-- Tells the parents of tasks that have ended.
create or replace function tasker.wake_parents(p_now timestamptz, p_task_ids uuid[]) returns void
language sql as $$
    select from tasker.enqueue(
        (select array_agg(t.namespace) from tasker.tasks t where t.task_id = any (p_task_ids)),
        (select array_agg(t.parent_task_id) from tasker.tasks t where t.task_id = any (p_task_ids)),
        (select array_agg(t.parent_step_no) from tasker.tasks t where t.task_id = any (p_task_ids)),
        (select array_agg(p_now) from tasker.tasks t where t.task_id = any (p_task_ids)))
$$;

-- Ends the waits of steps whose children have ended: `action` is 'child'. The caller has locked their tasks. The result
-- of such a step has the id of the child, and the results of those of its steps on which nothing depends, if they are not
-- larger than 8 MiB.
create or replace function tasker.settle_parents(p_now timestamptz, p_steps tasker.read_step[]) returns void
language plpgsql as $$
begin
    if cardinality(p_steps) = 0 then
        return;
    end if;
    with child as materialized (
        select u.task_id, u.step_no, c.task_id as child_id, c.template_id, c.state
        from unnest(p_steps) u
        join tasker.steps s on s.task_id = u.task_id and s.step_no = u.step_no
        join tasker.tasks c on c.task_id = (s.input ->> 'child')::uuid
    ), ended as (
        update tasker.steps s
        set state = case c.state when 'completed' then 'completed' else 'failed' end::tasker.state, completed_at = p_now,
            result = case c.state when 'completed' then jsonb_build_object('task_uuid', c.child_id, 'results', (
                select case when bool_or(r.too_large) then '{"too_large": true}'
                            else coalesce(jsonb_object_agg(r.name, r.result) filter (where not r.too_large), '{}') end
                from (
                    select ts.name, cs.result, sum(octet_length(cs.result::text)) over () > 8388608 as too_large
                    from tasker.template_steps ts
                    join tasker.steps cs on cs.task_id = c.child_id and cs.step_no = ts.step_no and cs.state <> 'skipped'
                    where ts.template_id = c.template_id and ts.dependents = '{}'
                ) r)) end,
            error = case when c.state <> 'completed' then jsonb_build_object(
                'kind', 'child_failed', 'message', format('the child task %s is %s', c.child_id, c.state),
                'task_uuid', c.child_id) end
        from child c
        where s.task_id = c.task_id and s.step_no = c.step_no
        returning s.task_id, s.step_no, s.state, s.error
    )
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, reason, error_kind)
    select e.task_id, p_now, e.step_no, 'waiting', e.state, e.error ->> 'message', e.error ->> 'kind' from ended e;
    perform tasker.advance_tasks(
        p_now, array_agg(s.task_id), array_agg(s.step_no), array_agg((s.state = 'completed')::integer),
        array_agg((s.state = 'failed')::integer), array_agg(-1))
    from unnest(p_steps) u join tasker.steps s on s.task_id = u.task_id and s.step_no = u.step_no;
end
$$;

-- Cancels up to `p_limit` children whose parents have ended. Returns their ids. It is not done together with the parent,
-- which would have to lock its children after itself.
create or replace function tasker.end_orphans(p_limit integer) returns setof uuid
language plpgsql as $$
#variable_conflict use_column
declare
    v_orphans uuid[] := array(
        select o.task_id from (
            select c.task_id from tasker.tasks c join tasker.tasks p on p.task_id = c.parent_task_id
            where c.parent_task_id is not null and c.completed_at is null and p.completed_at is not null
            order by c.task_id limit p_limit for update of c skip locked
        ) o);
begin
    perform tasker.close_task(o.task_id, 'cancelled', 'tasker', 'the parent task has ended') from unnest(v_orphans) o(task_id);
    perform tasker.release_gates(tasker.now(), v_orphans);
    return query select unnest(v_orphans);
end
$$;
