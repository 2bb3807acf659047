-- Claiming steps, and the functions that claiming and completing share.

-- Notifies listeners that tasks came to rest. It sends one notification. The payload lists the ids if they
-- fit, and is empty otherwise: listeners then look at every task that they wait for.
create or replace function tasker.announce(p_task_ids uuid[]) returns void
language plpgsql as $$
begin
    if p_task_ids is not null then
        perform pg_notify('tasker.tasks_at_rest',
            case when cardinality(p_task_ids) <= 200 then array_to_string(p_task_ids, ',') else '' end);
    end if;
end
$$;

-- The id of a task, as often as there are numbers of steps. A query that joins the steps of one task with both finds them
-- by the whole key. With `task_id = p_task_id` the planner may read all steps of the task first, and there can be 30,000.
create or replace function tasker.keys(p_task_id uuid, p_step_nos smallint[]) returns uuid[]
language sql immutable parallel safe
return array_fill(p_task_id, array[cardinality(p_step_nos)]);

-- Whether a single task, or a single step of the common kind, is created, started and completed the short way.
-- The test that compares both ways replaces this function.
create or replace function tasker.short_way() returns boolean
language sql immutable parallel safe
return true;

-- All that a worker needs to run a step that it has just claimed.
create or replace function tasker.leased_step(
    p_task_id uuid, p_step_no smallint, p_token uuid, p_msg_id bigint, p_namespace text, p_template_id bigint,
    p_context jsonb, p_attempt smallint, p_waited_seconds double precision, p_input jsonb, p_traceparent text
)
returns tasker.leased_step
language plpgsql stable as $$
declare
    v_leased tasker.leased_step;
begin
    select p_task_id, p_step_no, p_token, p_msg_id, p_namespace, tt.name, tt.version, ts.name, ts.callable,
           ts.initialization, p_context,
           case when ts.dependencies = '{}' then '{}'::json
                when not tt.plain then tasker.results_of_dependencies(p_task_id, ts)
                else (
               select json_object_agg(ds.name, d.result)
               from unnest(tasker.keys(p_task_id, ts.dependencies), ts.dependencies) n(task_id, step_no)
               join tasker.steps d on d.task_id = n.task_id and d.step_no = n.step_no
               join tasker.template_steps ds on ds.template_id = p_template_id and ds.step_no = d.step_no) end,
           p_attempt, ts.max_attempts, ts.timeout_seconds, p_waited_seconds, p_input, p_traceparent
    into v_leased
    from tasker.template_steps ts
    join tasker.task_templates tt on tt.template_id = ts.template_id
    where ts.template_id = p_template_id and ts.step_no = p_step_no;
    return v_leased;
end
$$;

-- All that a worker needs to run the steps that it has just claimed. Here and in other queries, `offset 0` makes the planner
-- find each step by its whole key. Else it may join steps and tasks first, and read all steps of a task for each of them.
create or replace function tasker.leased_steps(
    p_task_ids uuid[], p_step_nos smallint[], p_msg_ids bigint[], p_waited_seconds double precision[]
)
returns setof tasker.leased_step
language plpgsql stable
as $$
begin
    return query
    -- The children of a group share the results of its dependencies.
    with shared as materialized (
        select g.task_id, g.definition, tasker.results_of_dependencies(g.task_id, ts) as results
        from (
            select distinct s.task_id, s.definition
            from unnest(p_task_ids, p_step_nos) c(task_id, step_no)
            join tasker.steps s on s.task_id = c.task_id and s.step_no = c.step_no
            where c.step_no >= tasker.first_child()
        ) g
        join tasker.tasks t on t.task_id = g.task_id
        join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = g.definition
    )
    select s.task_id, s.step_no, s.token, c.msg_id, t.namespace, tt.name, tt.version, coalesce(s.name, ts.name),
           ts.callable, ts.initialization || coalesce(s.input -> 'initialization', '{}'), t.context,
           case when s.definition is not null then g.results
                when ts.dependencies = '{}' then '{}'
                when not t.plain then tasker.results_of_dependencies(t.task_id, ts)
                else coalesce((
               select json_object_agg(ds.name, d.result)
               from unnest(tasker.keys(s.task_id, ts.dependencies), ts.dependencies) n(task_id, step_no)
               join tasker.steps d on d.task_id = n.task_id and d.step_no = n.step_no
               join tasker.template_steps ds on ds.template_id = t.template_id and ds.step_no = d.step_no), '{}') end,
           s.attempts, ts.max_attempts, ts.timeout_seconds, c.waited_seconds, s.input, t.traceparent
    from unnest(p_task_ids, p_step_nos, p_msg_ids, p_waited_seconds)
        c(task_id, step_no, msg_id, waited_seconds)
    cross join lateral (
        select l.* from tasker.steps l where l.task_id = c.task_id and l.step_no = c.step_no offset 0
    ) s
    join tasker.tasks t on t.task_id = s.task_id
    join tasker.task_templates tt on tt.template_id = t.template_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
    left join shared g on g.task_id = s.task_id and g.definition = s.definition;
end
$$;

-- Claims up to `p_limit` steps of the namespaces, in the order of the namespaces, for the length of a lease.
--
-- A claim does not have to survive a crash of PostgreSQL, because the message is then visible again. So the
-- commit does not wait for the disk. Tokens are random, so the holder of a claim that a crash undid is
-- refused.
--
-- `p_look_back` has one element for each namespace. It is the longest time that a message may have been
-- visible to be found; null means any time. While an old transaction is open, index entries of deleted
-- messages remain, and they are older than all messages that exist. A caller that knows that nothing older
-- exists does not have to step over them.
create or replace function tasker.start_steps(
    p_worker_id text, p_namespaces text[], p_look_back interval[], p_limit integer, p_lease interval
)
returns setof tasker.leased_step
language plpgsql
as $$
declare
    v_now timestamptz := tasker.now();
    v_lease_end timestamptz := v_now + p_lease;
    v_namespace text;
    v_look_back interval;
    v_found tasker.read_message[];
    v_read tasker.read_message[];
    v_idle tasker.read_message[];
    v_lock uuid[];
    v_shaped uuid[];
    v_steps tasker.read_step[];
    v_full boolean;
    v_started tasker.leased_step;
begin
    perform set_config('synchronous_commit', 'off', true);

    -- 1. Read messages, oldest first, and hide them for the length of the lease. If none of a full batch is
    --    needed, read again, because more may wait behind it. Tasks and steps are locked afterwards, once, to
    --    keep the order of locks.
    for v_round in 1..10 loop
        v_read := '{}';
        for v_namespace, v_look_back in
            select u.namespace, u.look_back
            from unnest(p_namespaces, p_look_back) with ordinality u(namespace, look_back, nth)
            where not exists (
                select from tasker.namespaces n where n.namespace = u.namespace and n.paused_at is not null)
            order by u.nth
        loop
            exit when cardinality(v_read) >= p_limit;
            execute format(
                'select tasker_queues.%I($1, $2, $3, $4, $5)', tasker.queue_function('read', v_namespace))
            into v_found
            using v_namespace, coalesce(v_now - v_look_back, '-infinity'), v_now, p_limit - cardinality(v_read), v_lease_end;
            v_read := v_read || v_found;
        end loop;
        exit when v_read = '{}';
        if cardinality(v_read) = 1 and tasker.short_way() then
            v_started := tasker.start_step(p_worker_id, v_now, v_lease_end, v_read[1]);
            if v_started.token is not null then
                return next v_started;
                return;
            end if;
        end if;
        v_full := cardinality(v_read) >= p_limit;
        if exists (select from unnest(v_read) m where m.task_id is null or m.step_no is null) then
            v_read := tasker.reject_messages(v_now, v_read);
        end if;

        -- Messages of steps that cannot run are idle and are deleted. If such a step becomes ready later, it
        -- gets a new message. `v_lock` holds the tasks that may change: tasks that start now, tasks of steps
        -- whose lease expired or whose wait is over, and tasks of steps that start a child task. `v_shaped`
        -- holds the tasks whose workflow takes shape while it runs.
        select coalesce(array_agg(m) filter (where a.active), '{}'),
               array_agg(m) filter (where not a.active),
               array_agg(distinct t.task_id)
                   filter (where a.active and (t.state = 'pending' or s.state in ('in_progress', 'waiting')
                       or not t.plain and s.state = 'enqueued' and tasker.has_child(t.template_id, m.step_no))),
               array_agg(distinct t.task_id) filter (where a.active and not t.plain)
        into v_read, v_idle, v_lock, v_shaped
        from unnest(v_read) m
        left join tasker.steps s on s.task_id = m.task_id and s.step_no = m.step_no
        left join tasker.tasks t on t.task_id = m.task_id,
        lateral (select coalesce(s.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting'), false) as active) a;
        if v_idle is not null then
            perform tasker.delete_messages(
                array_agg(m.namespace), array_agg(m.msg_id), array_agg(m.task_id), array_agg(m.step_no))
            from unnest(v_idle) m;
        end if;
        exit when v_read <> '{}' or not v_full;
    end loop;
    if v_read = '{}' then
        return;
    end if;

    -- 2. Lock the tasks.
    perform from tasker.tasks t where t.task_id = any (v_lock) order by t.task_id for update;

    -- 3. Lock the steps and decide what each message means now.
    select array_agg((m.namespace, m.msg_id, m.visible_at, m.task_id, m.step_no,
        case
            when m.nth > 1 then 'delete'
            when s.state = 'enqueued' and ts.has_child and m.task_id = any (v_lock) is not true then 'defer'
            when s.state = 'enqueued' or s.state = 'waiting_for_retry' and s.due_at <= v_now then ts.starting
            when s.state = 'in_progress' and s.due_at <= v_now then
                case when s.attempts < ts.max_attempts then ts.starting
                     when m.task_id = any (v_lock) then 'exhaust'
                     else 'defer' end
            -- The message of a child that has ended.
            when s.state = 'waiting' and ts.has_child then
                case when m.task_id = any (v_lock) and (
                         select c.completed_at is not null from tasker.tasks c
                         where c.task_id = (s.input ->> 'child')::uuid) then 'child'
                     else 'delete' end
            when s.state = 'waiting' and s.due_at <= v_now then
                -- A template makes a step wait before its first attempt only.
                case when s.signal is null or s.started_at is not null or ts.on_timeout = 'run' then ts.starting
                     when m.task_id = any (v_lock) then ts.on_timeout
                     else 'defer' end
            when s.state in ('in_progress', 'waiting_for_retry') or s.due_at > v_now then 'defer'
            else 'delete'
        end,
        s.state, s.attempts, s.due_at, s.worker_id)::tasker.read_step)
    into v_steps
    from (
        select r.*, row_number() over (partition by r.task_id, r.step_no order by r.msg_id) as nth
        from unnest(v_read) r order by r.task_id, r.step_no
    ) m
    left join lateral (
        select * from tasker.steps l where l.task_id = m.task_id and l.step_no = m.step_no for update
    ) s on true
    left join lateral (
        select l.max_attempts, l.admission #>> '{wait,on_timeout}' as on_timeout, l.admission ? 'task' as has_child,
               l.admission ?| '{concurrency,rate}' as gated
        from tasker.tasks t
        join tasker.template_steps l on l.template_id = t.template_id and l.step_no = coalesce(s.definition, m.step_no)
        where t.task_id = m.task_id and (s.state in ('in_progress', 'waiting') or m.task_id = any (v_shaped))
    ) l on true
    cross join lateral (
        select l.*, case when l.gated then 'gate' else 'start' end as starting
    ) ts;

    -- 4. Handle those that do not start. This is rare.
    if exists (select from unnest(v_steps) c where c.action <> 'start') then
        perform tasker.exhaust_steps(v_now, array(select c from unnest(v_steps) c where c.action = 'exhaust'));
        perform tasker.settle_parents(v_now, array(select c from unnest(v_steps) c where c.action = 'child'));
        perform tasker.time_out_steps(v_now, array(select c from unnest(v_steps) c where c.action in ('fail', 'skip')));
        if v_shaped is not null then
            v_steps := tasker.pass_gates(v_now, v_steps);
            perform tasker.spawn_children(v_now, array(select c from unnest(v_steps) c where c.action = 'spawn'));
        end if;
        perform tasker.delete_messages(
            array_agg(c.namespace), array_agg(c.msg_id), array_agg(c.task_id), array_agg(c.step_no))
        from unnest(v_steps) c
        where c.action in ('delete', 'exhaust', 'fail', 'skip', 'child', 'queue', 'spawn') having count(*) > 0;
        perform tasker.defer_messages(
            array_agg(c.namespace), array_agg(c.msg_id), array_agg(c.task_id), array_agg(c.step_no),
            array_agg(case when c.due_at > v_now then c.due_at else v_now + interval '1 second' end))
        from unnest(v_steps) c where c.action = 'defer' having count(*) > 0;
        -- A worker that gets fewer steps than it wanted believes that there are no more. After a full batch, there may be.
        if v_full then
            perform tasker.wake(c.namespace, array_agg(c.visible_at))
            from unnest(v_steps) c where c.action in ('queue', 'defer', 'spawn') group by c.namespace;
        end if;
    end if;

    -- 5. Start the others.
    if 'waiting' = any (array(select c.state from unnest(v_steps) c where c.action = 'start')) then
        update tasker.steps s set signal = null, input = coalesce(s.input, '{}') || '{"timed_out": true}'
        from unnest(v_steps) c
        where c.action = 'start' and s.task_id = c.task_id and s.step_no = c.step_no and s.signal is not null;
    end if;
    with starting as materialized (
        select c.* from unnest(v_steps) c where c.action = 'start'
    ), started_steps as (
        update tasker.steps s
        set state = 'in_progress', attempts = s.attempts + 1, due_at = v_lease_end, token = gen_random_uuid(),
            worker_id = p_worker_id, started_at = v_now
        from starting c
        where s.task_id = c.task_id and s.step_no = c.step_no
    ), started_tasks as (
        update tasker.tasks t set state = 'in_progress', started_at = v_now
        where t.task_id = any (v_lock) and t.state = 'pending'
          and t.task_id = any (array(select c.task_id from starting c))
        returning t.task_id
    )
    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
    select s.task_id, v_now, null, null, 'pending'::tasker.state, 'in_progress'::tasker.state, p_worker_id, null
    from started_tasks s
    union all
    select c.task_id, v_now, c.step_no, c.attempts + 1, c.state, 'in_progress', p_worker_id,
           case when c.state = 'in_progress' then 'the lease of ' || c.worker_id || ' expired' end
    from starting c;

    return query
    select d.* from tasker.leased_steps(
        array(select c.task_id from unnest(v_steps) c where c.action = 'start'),
        array(select c.step_no from unnest(v_steps) c where c.action = 'start'),
        array(select c.msg_id from unnest(v_steps) c where c.action = 'start'),
        array(select extract(epoch from v_now - c.visible_at)::double precision
              from unnest(v_steps) c where c.action = 'start')) d;
end
$$;

-- Starts the step of a message the short way, if it is enqueued, has no gate and is no child. Otherwise it changes nothing
-- and returns null.
create or replace function tasker.start_step(
    p_worker_id text, p_now timestamptz, p_lease_end timestamptz, m tasker.read_message
)
returns tasker.leased_step
language plpgsql as $$
declare
    t record;
    s record;
begin
    -- A task that is pending begins now, so it is locked first.
    select tt.state, tt.template_id, tt.namespace, tt.context, tt.traceparent, tt.plain into t
    from tasker.tasks tt where tt.task_id = m.task_id and tt.state = 'pending' for update;
    if not found then
        select tt.state, tt.template_id, tt.namespace, tt.context, tt.traceparent, tt.plain into t
        from tasker.tasks tt where tt.task_id = m.task_id;
    end if;
    if not t.plain and exists (
        select from tasker.template_steps ts
        where ts.template_id = t.template_id and ts.step_no = m.step_no and ts.admission ?| '{concurrency,rate}') then
        return null;
    end if;
    update tasker.steps st
    set state = 'in_progress', attempts = st.attempts + 1, due_at = p_lease_end, token = gen_random_uuid(),
        worker_id = p_worker_id, started_at = p_now
    where st.task_id = m.task_id and st.step_no = m.step_no and st.state = 'enqueued' and st.definition is null
    returning st.attempts, st.token, st.input into s;
    if not found then
        return null;
    end if;
    if t.state = 'pending' then
        update tasker.tasks tt set state = 'in_progress', started_at = p_now where tt.task_id = m.task_id;
    end if;
    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor)
    select m.task_id, p_now, null::smallint, null::smallint, t.state, 'in_progress'::tasker.state, p_worker_id
    where t.state = 'pending'
    union all
    select m.task_id, p_now, m.step_no, s.attempts, 'enqueued', 'in_progress', p_worker_id;
    return tasker.leased_step(
        m.task_id, m.step_no, s.token, m.msg_id, t.namespace, t.template_id, t.context, s.attempts,
        extract(epoch from p_now - m.visible_at)::double precision, s.input, t.traceparent);
end
$$;

-- Moves messages that name no step to `rejected_messages`. Returns the other messages.
create or replace function tasker.reject_messages(p_now timestamptz, p_read tasker.read_message[])
returns tasker.read_message[]
language plpgsql as $$
declare
    v_bad tasker.read_message;
begin
    foreach v_bad in array p_read loop
        continue when v_bad.task_id is not null and v_bad.step_no is not null;
        execute format(
            'with gone as (delete from pgmq.%I where msg_id = $1 returning msg_id, message)
             insert into tasker.rejected_messages (queue, msg_id, message, reason, rejected_at)
             select $2, msg_id, message, $3, $4 from gone', 'q_' || tasker.queue_name(v_bad.namespace))
        using v_bad.msg_id, tasker.queue_name(v_bad.namespace),
              'not an object with a task_id (UUID, in lower case) and a step_no (integer, 0 to 29999)', p_now;
    end loop;
    return array(select m from unnest(p_read) m where m.task_id is not null and m.step_no is not null);
end
$$;

-- Fails steps that lost their last attempt with their worker. The caller has locked their tasks.
create or replace function tasker.exhaust_steps(p_now timestamptz, p_steps tasker.read_step[]) returns void
language plpgsql as $$
begin
    if cardinality(p_steps) = 0 then
        return;
    end if;
    update tasker.steps s
    set state = 'failed', token = null, due_at = null, completed_at = p_now,
        error = jsonb_build_object('kind', 'lease_ended', 'message',
            format('worker %s did not finish attempt %s before its lease expired, and no attempt is left',
                   c.worker_id, c.attempts))
    from unnest(p_steps) c
    where s.task_id = c.task_id and s.step_no = c.step_no;

    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason, error_kind)
    select c.task_id, p_now, c.step_no, c.attempts, 'in_progress', 'failed', c.worker_id,
           'the lease expired, and no attempt is left', 'lease_ended'
    from unnest(p_steps) c;

    perform tasker.advance_tasks(
        p_now, array_agg(c.task_id), array_agg(c.step_no), array_agg(0), array_agg(1), array_agg(-1))
    from unnest(p_steps) c;
end
$$;
