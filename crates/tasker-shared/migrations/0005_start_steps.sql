-- Claiming steps, and what claiming and completing share.

-- Applies what happened to steps to the counters of their (locked) tasks, and moves the tasks that this finishes or blocks.
-- One element per task. Those who wait for tasks hear of the ones that came to rest.
create function tasker.settle_tasks(
    p_now timestamptz, p_task_ids uuid[], p_completed integer[], p_failed integer[], p_active integer[],
    p_actor text default null, p_reason text default null
) returns void
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
    v_resting uuid[];
begin
    with changed as (
        update tasker.tasks t
        set completed_steps = n.completed_steps,
            failed_steps = n.failed_steps,
            active_steps = n.active_steps,
            state = n.state,
            -- Not set yet where an operator resolves a step before any has run.
            started_at = coalesce(t.started_at, p_now),
            completed_at = case when n.state = 'completed' then p_now end
        from (
            select o.task_id, o.state as old_state, c.completed_steps, c.failed_steps, c.active_steps,
                   (case
                       when c.completed_steps = o.total_steps then 'completed'
                       when c.active_steps = 0 and c.failed_steps > 0 then 'blocked_by_failures'
                       else 'in_progress'
                   end)::tasker.state as state
            from unnest(p_task_ids, p_completed, p_failed, p_active) d(task_id, completed, failed, active)
            join tasker.tasks o on o.task_id = d.task_id,
            lateral (select o.completed_steps + d.completed as completed_steps,
                            o.failed_steps + d.failed as failed_steps,
                            o.active_steps + d.active as active_steps) c
        ) n
        where t.task_id = n.task_id
        returning t.task_id, n.old_state, t.state
    ), recorded as (
        insert into tasker.transitions (task_id, at, from_state, to_state, actor, reason)
        select c.task_id, p_now, c.old_state, c.state, p_actor, p_reason from changed c where c.old_state <> c.state
        returning task_id, to_state
    )
    select array_agg(r.task_id) into v_resting from recorded r where r.to_state <> 'in_progress';
    perform tasker.announce(v_resting);
end
$$;

-- Tells those who wait for tasks that these came to rest: one notification, with the ids while they fit.
-- An empty payload says: look at all that you wait for.
create function tasker.announce(p_task_ids uuid[]) returns void
language plpgsql as $$
begin
    if p_task_ids is not null then
        perform pg_notify('tasker.tasks_at_rest',
            case when cardinality(p_task_ids) <= 200 then array_to_string(p_task_ids, ',') else '' end);
    end if;
end
$$;

-- What a worker needs to run the steps that it has just claimed, with their messages.
create function tasker.claimed_steps(p_task_ids uuid[], p_step_nos smallint[], p_msg_ids bigint[])
returns setof tasker.claimed_step
language sql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
    select false, s.task_id, s.step_no, s.token, c.msg_id, t.namespace, tt.name, tt.version, ts.name, ts.callable,
           ts.initialization, t.context,
           coalesce((
               select jsonb_object_agg(ds.name, d.result)
               from unnest(ts.dependencies) dep(step_no)
               join tasker.steps d on d.task_id = s.task_id and d.step_no = dep.step_no
               join tasker.template_steps ds on ds.template_id = t.template_id and ds.step_no = dep.step_no), '{}'),
           s.attempts, ts.max_attempts, ts.timeout_seconds
    from unnest(p_task_ids, p_step_nos, p_msg_ids) c(task_id, step_no, msg_id)
    join tasker.steps s on s.task_id = c.task_id and s.step_no = c.step_no
    join tasker.tasks t on t.task_id = s.task_id
    join tasker.task_templates tt on tt.template_id = t.template_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = s.step_no
$$;

create type tasker.read_message as (namespace text, msg_id bigint, task_id uuid, step_no smallint);

-- A message that was read, with its step as it is under lock, and what is to be done.
create type tasker.read_step as (
    namespace text, msg_id bigint, task_id uuid, step_no smallint, action text,
    state tasker.state, attempts smallint, due_at timestamptz, worker_id text
);

-- Claims up to `p_limit` steps of the namespaces, in their order, for the length of a lease.
--
-- The claim need not survive a crash of PostgreSQL: if it is lost, the message is visible again. So it does not wait for
-- the disk. A holder of a claim that a crash undid is refused, since a token is random.
create function tasker.start_steps(p_worker_id text, p_namespaces text[], p_limit integer, p_lease interval)
returns setof tasker.claimed_step
language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := tasker.now();
    v_lease_end timestamptz := v_now + p_lease;
    v_namespace text;
    v_queue text;
    v_msg_ids bigint[];
    v_messages jsonb[];
    v_read tasker.read_message[];
    v_idle_namespaces text[];
    v_idle_msg_ids bigint[];
    v_lock uuid[];
    v_steps tasker.read_step[];
    v_full boolean;
begin
    perform set_config('synchronous_commit', 'off', true);

    -- 1. Read messages, oldest first, and hide them for the length of the lease. Again where a full batch called for nothing:
    -- more may wait behind it. Tasks and steps are locked after that, once, so that the order of locks holds.
    for v_round in 1..10 loop
        v_read := '{}';
        foreach v_namespace in array p_namespaces loop
            exit when cardinality(v_read) >= p_limit;
            v_queue := 'q_' || tasker.queue_name(v_namespace);
            execute format(
                'select array_agg(m.msg_id), array_agg(m.message) from (
                     select msg_id, message from pgmq.%I where vt <= $1 order by vt limit $2 for update skip locked) m',
                v_queue)
            into v_msg_ids, v_messages using v_now, p_limit - cardinality(v_read);
            continue when v_msg_ids is null;

            execute format('update pgmq.%I set vt = $1, read_ct = read_ct + 1 where msg_id = any ($2)', v_queue)
            using v_lease_end, v_msg_ids;

            v_read := v_read || array(
                select (v_namespace, m.msg_id,
                        case when m.message ->> 'task_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                             then (m.message ->> 'task_id')::uuid end,
                        case when m.message ->> 'step_no' ~ '^[0-9]{1,4}$'
                             then (m.message ->> 'step_no')::smallint end)::tasker.read_message
                from unnest(v_msg_ids, v_messages) m(msg_id, message));
        end loop;
        exit when v_read = '{}';
        v_full := cardinality(v_read) >= p_limit;
        if exists (select from unnest(v_read) m where m.task_id is null or m.step_no is null) then
            v_read := tasker.reject_messages(v_now, v_read);
        end if;

        -- Messages whose steps have no turn to come go: a step that gets one again gets a new message with it. `v_lock`: the
        -- tasks that may change: those that start now, and those of steps whose lease has ended.
        select coalesce(array_agg(m) filter (where a.active), '{}'),
               array_agg(m.namespace) filter (where not a.active), array_agg(m.msg_id) filter (where not a.active),
               array_agg(distinct t.task_id) filter (where a.active and (t.state = 'pending' or s.state = 'in_progress'))
        into v_read, v_idle_namespaces, v_idle_msg_ids, v_lock
        from unnest(v_read) m
        left join tasker.steps s on s.task_id = m.task_id and s.step_no = m.step_no
        left join tasker.tasks t on t.task_id = m.task_id,
        lateral (select coalesce(s.state in ('enqueued', 'in_progress', 'waiting_for_retry'), false) as active) a;
        if v_idle_msg_ids is not null then
            perform tasker.delete_messages(v_idle_namespaces, v_idle_msg_ids);
        end if;
        exit when v_read <> '{}' or not v_full;
    end loop;
    if v_read = '{}' then
        return;
    end if;

    -- 2. Lock the tasks.
    perform from tasker.tasks t where t.task_id = any (v_lock) order by t.task_id for update;

    -- 3. Lock the steps, and see what each message means now.
    select array_agg((m.namespace, m.msg_id, m.task_id, m.step_no,
        case
            when m.nth > 1 then 'delete'
            when s.state = 'enqueued' or s.state = 'waiting_for_retry' and s.due_at <= v_now then 'start'
            when s.state = 'in_progress' and s.due_at <= v_now then
                case when s.attempts < ts.max_attempts then 'start'
                     when m.task_id = any (v_lock) then 'exhaust'
                     else 'defer' end
            when s.state in ('in_progress', 'waiting_for_retry') then 'defer'
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
    left join tasker.tasks t on t.task_id = m.task_id
    left join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = m.step_no;

    -- 4. Start what can start.
    update tasker.steps s
    set state = 'in_progress', attempts = s.attempts + 1, due_at = v_lease_end, token = gen_random_uuid(),
        worker_id = p_worker_id, started_at = v_now
    from unnest(v_steps) c
    where c.action = 'start' and s.task_id = c.task_id and s.step_no = c.step_no;

    with started as (
        update tasker.tasks t set state = 'in_progress', started_at = v_now
        where t.task_id = any (v_lock) and t.state = 'pending'
          and t.task_id = any (array(select c.task_id from unnest(v_steps) c where c.action = 'start'))
        returning t.task_id
    )
    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
    select s.task_id, v_now, null, null, 'pending'::tasker.state, 'in_progress'::tasker.state, p_worker_id, null
    from started s
    union all
    select c.task_id, v_now, c.step_no, c.attempts + 1, c.state, 'in_progress', p_worker_id,
           case when c.state = 'in_progress' then 'the lease of ' || c.worker_id || ' ended' end
    from unnest(v_steps) c where c.action = 'start';

    -- 5. Seldom: deal with the rest.
    if exists (select from unnest(v_steps) c where c.action <> 'start') then
        perform tasker.exhaust_steps(v_now, array(select c from unnest(v_steps) c where c.action = 'exhaust'));
        perform tasker.delete_messages(array_agg(c.namespace), array_agg(c.msg_id))
        from unnest(v_steps) c where c.action in ('delete', 'exhaust');
        perform tasker.defer_messages(array_agg(c.namespace), array_agg(c.msg_id),
            array_agg(case when c.due_at > v_now then c.due_at else v_now + interval '1 second' end))
        from unnest(v_steps) c where c.action = 'defer';
    end if;

    return query
    select d.* from tasker.claimed_steps(
        array(select c.task_id from unnest(v_steps) c where c.action = 'start'),
        array(select c.step_no from unnest(v_steps) c where c.action = 'start'),
        array(select c.msg_id from unnest(v_steps) c where c.action = 'start')) d;
end
$$;

-- Sets messages aside that name no step; returns the others.
create function tasker.reject_messages(p_now timestamptz, p_read tasker.read_message[])
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
              'not an object with a task_id (UUID, in lower case) and a step_no (integer, 0 to 9999)', p_now;
    end loop;
    return array(select m from unnest(p_read) m where m.task_id is not null and m.step_no is not null);
end
$$;

-- Fails steps whose last attempt was lost with its worker. Their tasks are locked.
create function tasker.exhaust_steps(p_now timestamptz, p_steps tasker.read_step[]) returns void
language plpgsql as $$
begin
    if cardinality(p_steps) = 0 then
        return;
    end if;
    update tasker.steps s
    set state = 'failed', token = null, due_at = null, completed_at = p_now,
        error = jsonb_build_object('kind', 'lease_ended', 'message',
            format('worker %s did not finish attempt %s before its lease ended, and no attempt is left', c.worker_id, c.attempts))
    from unnest(p_steps) c
    where s.task_id = c.task_id and s.step_no = c.step_no;

    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
    select c.task_id, p_now, c.step_no, c.attempts, 'in_progress', 'failed', c.worker_id, 'the lease ended, and no attempt is left'
    from unnest(p_steps) c;

    perform tasker.settle_tasks(p_now, array_agg(d.task_id), array_agg(0), array_agg(d.n), array_agg(-d.n))
    from (select c.task_id, count(*)::integer as n from unnest(p_steps) c group by c.task_id) d;
end
$$;
