-- Workflows that take shape while they run: waits. A step that waits is `waiting`. It costs no slot, no lease and no poll.
--
-- `due_at` is the end of the wait, and a message that becomes visible then is its timer. A wait without an end has no
-- message. `signal` names the signal that ends the wait earlier. Whoever sends a signal locks the task, stores the
-- signal, and then looks for steps that wait for it. Whoever makes a step wait has locked the task too, and looks for the
-- signal first. So no step waits for a signal that is stored.
--
-- A step waits because its template says so (`admission.wait`), before its first attempt, or because its handler says so.
-- Its next attempt receives in `input`:
--   signal      the payload of the signal
--   timed_out   true if the wait ended without the signal
--   checkpoint  what the handler stored when it began to wait

-- Makes steps wait whose templates say so. The caller has locked their tasks. Steps whose signal is stored continue at
-- once. Returns the steps, and when their messages must be visible; null for no message.
create or replace function tasker.park_steps(p_now timestamptz, p_steps tasker.admitted_step[])
returns table (namespace text, task_id uuid, step_no smallint, visible_at timestamptz)
language sql as $$
    with parked as (
        update tasker.steps s
        set state = case when g.name is null then 'waiting' else 'enqueued' end::tasker.state,
            signal = case when g.name is null then a.admission #>> '{wait,signal}' end,
            due_at = case when g.name is null then p_now + coalesce(
                (a.admission #>> '{wait,delay_seconds}')::integer,
                (a.admission #>> '{wait,timeout_seconds}')::integer) * interval '1 second' end,
            input = case when g.name is not null
                then coalesce(s.input, '{}') || jsonb_build_object('signal', g.payload) else s.input end
        from unnest(p_steps) a
        left join tasker.signals g on g.task_id = a.task_id and g.name = a.admission #>> '{wait,signal}'
        where s.task_id = a.task_id and s.step_no = a.step_no
        returning a.namespace, s.task_id, s.step_no, s.state, s.due_at, a.priority
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
        select p.task_id, p_now, p.step_no, 'pending', p.state from parked p
    )
    select p.namespace, p.task_id, p.step_no,
           case p.state when 'enqueued' then p_now - p.priority * interval '10 seconds' else p.due_at end
    from parked p
$$;

-- Sends signals to tasks, and lets the steps that wait for them continue. Returns an outcome for each signal:
--   done         the signal is stored
--   repeated     the task has a signal of this name, with the same payload
--   conflict     the task has a signal of this name, with another payload; the first one stays
--   not_found    there is no such task
--   wrong_state  the task has ended
create or replace function tasker.send_signals(p_task_ids uuid[], p_names text[], p_payloads jsonb[], p_actors text[])
returns text[]
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
    v_stored tasker.signals[];
    v_tasks uuid[];
    v_steps smallint[];
    v_signals tasker.signals[];
    v_outcomes text[];
begin
    perform from tasker.tasks t where t.task_id = any (p_task_ids) order by t.task_id for update;

    -- Of the same signal twice in one call, the first is stored, and is there for the second.
    with sent as (
        select s.task_id, s.name, s.payload, s.actor, s.nth, t.state,
               row_number() over (partition by s.task_id, s.name order by s.nth) as place,
               first_value(s.payload) over (partition by s.task_id, s.name order by s.nth) as first_payload
        from unnest(p_task_ids, p_names, p_payloads, p_actors) with ordinality s(task_id, name, payload, actor, nth)
        left join tasker.tasks t on t.task_id = s.task_id
    ), decided as (
        select s.*, case
                when s.state is null then 'not_found'
                when g.name is not null then case when g.payload = s.payload then 'repeated' else 'conflict' end
                when s.state in ('completed', 'failed', 'cancelled') then 'wrong_state'
                when s.place = 1 then 'done'
                when s.first_payload = s.payload then 'repeated'
                else 'conflict'
            end as outcome
        from sent s
        left join tasker.signals g on g.task_id = s.task_id and g.name = s.name
    )
    select array_agg(d.outcome order by d.nth),
           array_agg((d.task_id, d.name, d.payload, v_now, d.actor)::tasker.signals) filter (where d.outcome = 'done')
    into v_outcomes, v_stored
    from decided d;
    if v_stored is null then
        return v_outcomes;
    end if;
    insert into tasker.signals (task_id, name, payload, sent_at, actor)
    select g.task_id, g.name, g.payload, g.sent_at, g.actor from unnest(v_stored) g order by g.task_id, g.name;

    select array_agg(w.task_id), array_agg(w.step_no), array_agg(w.sent)
    into v_tasks, v_steps, v_signals
    from (
        select s.task_id, s.step_no, g as sent
        from unnest(v_stored) g
        join tasker.steps s on s.task_id = g.task_id and s.state = 'waiting' and s.signal = g.name
        order by s.task_id, s.step_no for update of s
    ) w;
    if v_tasks is null then
        return v_outcomes;
    end if;
    update tasker.steps s
    set state = 'enqueued', due_at = null, signal = null,
        input = coalesce(s.input, '{}') || jsonb_build_object('signal', w.payload)
    from unnest(v_tasks, v_steps, v_signals) w(task_id, step_no, task, name, payload, sent_at, actor)
    where s.task_id = w.task_id and s.step_no = w.step_no;
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    select w.task_id, v_now, w.step_no, 'waiting', 'enqueued', w.actor, 'signal ' || w.name
    from unnest(v_tasks, v_steps, v_signals) w(task_id, step_no, task, name, payload, sent_at, actor);
    perform tasker.enqueue(
        array_agg(t.namespace), array_agg(w.task_id), array_agg(w.step_no),
        array_agg(v_now - t.priority * interval '10 seconds'))
    from unnest(v_tasks, v_steps) w(task_id, step_no) join tasker.tasks t on t.task_id = w.task_id;
    return v_outcomes;
end
$$;

-- Ends the waits of steps whose signal did not arrive in time, where the template says that they fail or are skipped:
-- `action` is 'fail' or 'skip'. The caller has locked their tasks.
create or replace function tasker.time_out_steps(p_now timestamptz, p_steps tasker.read_step[]) returns void
language plpgsql as $$
begin
    if cardinality(p_steps) = 0 then
        return;
    end if;
    with ended as (
        update tasker.steps s
        set state = case u.action when 'fail' then 'failed' else 'skipped' end::tasker.state, due_at = null, signal = null,
            completed_at = p_now,
            error = case u.action when 'fail' then jsonb_build_object(
                'kind', 'signal_timeout', 'message', format('the signal `%s` did not arrive in time', s.signal)) end
        from unnest(p_steps) u
        where s.task_id = u.task_id and s.step_no = u.step_no
        returning s.task_id, s.step_no, s.state, s.error
    )
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, reason, error_kind)
    select e.task_id, p_now, e.step_no, 'waiting', e.state, e.error ->> 'message', e.error ->> 'kind' from ended e;
    perform tasker.advance_tasks(
        p_now, array_agg(u.task_id), array_agg(u.step_no), array_agg((u.action = 'skip')::integer),
        array_agg((u.action = 'fail')::integer), array_agg(-1))
    from unnest(p_steps) u;
end
$$;
