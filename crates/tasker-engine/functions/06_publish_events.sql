-- Domain events. A step publishes the events of its template (`template_steps.events`) when it has an outcome, in the same
-- transaction. So an event exists if and only if the outcome is recorded.
--
-- A namespace with events has a queue for them, `NAMESPACE_domain_events`. The engine writes to it, shows what is
-- in it, and deletes old events. Programs of the user read it with PGMQ.
--
-- An event has an outcome (the state of the step), and the result or the error of the step as its payload:
--   {"event_id", "event_name", "outcome", "payload", "metadata": {"task_uuid", "namespace", "template",
--    "template_version", "step_name", "attempt", "fired_at"}}

-- The queue of the events of a namespace.
create or replace function tasker.event_queue_name(p_namespace text) returns text
language sql immutable
return tasker.queue_name(p_namespace || '_domain_events');

-- Creates the queue of the events of a namespace if it does not exist. It runs with the rights of the owner, as
-- `ensure_namespace` does.
create or replace function tasker.ensure_event_queue(p_namespace text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_queue text := tasker.event_queue_name(p_namespace);
begin
    if exists (select from tasker.namespaces n where n.namespace = p_namespace and n.event_queue is not null) then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext('tasker.ensure_namespace'));
    if exists (select from tasker.namespaces n where n.queue = v_queue) then
        raise exception 'the events of namespace % need the queue %, but a namespace has this name and this queue; '
            'rename one of the namespaces', p_namespace, v_queue using errcode = 'invalid_parameter_value';
    end if;
    perform pgmq.create(v_queue);
    perform tasker.grant_queue(v_queue, r) from tasker.runtime_roles() r;
    update tasker.namespaces n set event_queue = v_queue where n.namespace = p_namespace and n.event_queue is null;
end
$$;

-- Publishes the events of steps that have an outcome now. Steps in other states publish nothing. A group publishes nothing
-- once it has children, because each of them does.
create or replace function tasker.publish_events(p_now timestamptz, p_task_ids uuid[], p_step_nos smallint[]) returns void
language plpgsql as $$
declare
    v_queue text;
    v_events jsonb[];
begin
    if not exists (
        select from (
            select distinct t.template_id from unnest(p_task_ids) c join tasker.tasks t on t.task_id = c
        ) u
        join tasker.template_steps ts on ts.template_id = u.template_id
        where ts.events is not null
    ) then
        return;
    end if;
    for v_queue, v_events in
        select n.event_queue, array_agg(jsonb_build_object(
            'event_id', gen_random_uuid(), 'event_name', e.event ->> 'name', 'outcome', s.state,
            'payload', case when s.state in ('completed', 'resolved_manually') then s.result else s.error end,
            'metadata', jsonb_build_object(
                'task_uuid', t.task_id, 'namespace', t.namespace, 'template', tt.name, 'template_version', tt.version,
                'step_name', coalesce(s.name, ts.name), 'attempt', s.attempts,
                'fired_at', to_char(p_now at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
            order by s.task_id, s.step_no, e.nth)
        from unnest(p_task_ids, p_step_nos) c(task_id, step_no)
        cross join lateral (
            select l.* from tasker.steps l where l.task_id = c.task_id and l.step_no = c.step_no offset 0
        ) s
        join tasker.tasks t on t.task_id = s.task_id
        join tasker.task_templates tt on tt.template_id = t.template_id
        join tasker.namespaces n on n.namespace = t.namespace
        join tasker.template_steps ts
            on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
        cross join lateral jsonb_array_elements(ts.events) with ordinality e(event, nth)
        where ts.events is not null and n.event_queue is not null and s.children is null
          and case s.state
              when 'completed' then e.event ->> 'condition' in ('success', 'always')
              when 'resolved_manually' then e.event ->> 'condition' in ('success', 'always')
              when 'failed' then e.event ->> 'condition' in ('failure', 'permanent_failure', 'always')
              when 'waiting_for_retry' then e.event ->> 'condition' in ('failure', 'retryable_failure', 'always')
              else false
          end
        group by n.event_queue
    loop
        -- Readers compare with the real time, so events are visible at once even where a test has set the clock.
        execute format(
            'insert into pgmq.%I (vt, enqueued_at, message) select clock_timestamp(), $1, e from unnest($2) e',
            'q_' || v_queue)
        using p_now, v_events;
    end loop;
end
$$;

-- Up to `p_limit` events in the queue of a namespace, the oldest first: those after `p_after`, or the newest if it is null.
-- They stay there, and programs that read the queue do not notice.
create or replace function tasker.list_events(p_namespace text, p_after bigint, p_limit integer)
returns table (msg_id bigint, published_at timestamptz, reads integer, event jsonb)
language plpgsql stable as $$
declare
    v_queue text := (select n.event_queue from tasker.namespaces n where n.namespace = p_namespace);
begin
    if v_queue is null then
        return;
    end if;
    return query execute format(
        'select l.* from (
             select m.msg_id, m.enqueued_at, m.read_ct, m.message from pgmq.%I m
             where m.msg_id > $1 order by m.msg_id %s limit $2
         ) l order by l.msg_id', 'q_' || v_queue, case when p_after is null then 'desc' end)
    using coalesce(p_after, 0), p_limit;
end
$$;
