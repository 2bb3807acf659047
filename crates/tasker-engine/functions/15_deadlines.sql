-- Time limits of tasks, and stale tasks.

-- What `lifecycle` of a template says. Null if it limits nothing, or if nothing happens at a limit.
--   max_...       the limits, in minutes
--   ends          a task that reaches a limit is cancelled
--   investigates  an investigation of it is opened
-- Programs of earlier releases also store other values, which have no effect.
create or replace function tasker.lifecycle(p_definition jsonb) returns jsonb
language sql immutable
return (
    select l.limits || jsonb_build_object('ends', l.ends, 'investigates', l.investigates)
    from (
        select (
                   select jsonb_object_agg(f.key, f.value)
                   from jsonb_each(d.fields) f(key, value)
                   where f.key in ('max_duration_minutes', 'max_waiting_for_dependencies_minutes',
                                   'max_waiting_for_retry_minutes', 'max_steps_in_process_minutes')
                     and case when jsonb_typeof(f.value) = 'number'
                         then f.value::numeric between 1 and 43200 and f.value::numeric % 1 = 0 else false end
               ) as limits,
               coalesce(case when jsonb_typeof(d.fields -> 'auto_fail_on_timeout') = 'boolean'
                             then (d.fields -> 'auto_fail_on_timeout')::boolean end,
                        d.fields ->> 'staleness_action' is distinct from 'none') as ends,
               coalesce(case when jsonb_typeof(d.fields -> 'auto_dlq_on_timeout') = 'boolean'
                             then (d.fields -> 'auto_dlq_on_timeout')::boolean end,
                        coalesce(d.fields ->> 'staleness_action', 'dlq') = 'dlq') as investigates
        from (
            select case when jsonb_typeof(p_definition -> 'lifecycle') = 'object'
                        then p_definition -> 'lifecycle' else '{}' end as fields
        ) d
    ) l
    where l.limits is not null and (l.ends or l.investigates));

-- The limits of a template that say when a task is stale. Null if it has none.
create or replace function tasker.staleness(p_definition jsonb) returns jsonb
language sql immutable
return (
    select l from tasker.lifecycle(p_definition) l
    where l ?| '{max_waiting_for_dependencies_minutes,max_waiting_for_retry_minutes,max_steps_in_process_minutes}');

-- Does what a template says about a task that has reached a limit. The caller has locked the task, and releases its gates.
create or replace function tasker.give_up(p_task_id uuid, p_lifecycle jsonb, p_reason text) returns void
language plpgsql as $$
begin
    if (p_lifecycle ->> 'investigates')::boolean then
        perform tasker.open_dead_letters(array[p_task_id], 'staleness_timeout', p_reason);
    end if;
    if (p_lifecycle ->> 'ends')::boolean then
        perform tasker.close_task(p_task_id, 'cancelled', 'tasker', p_reason);
    end if;
end
$$;

-- Whether somebody must still be told that the task has reached a limit: it is ended, or it is investigated for the first
-- time.
create or replace function tasker.is_news(p_task_id uuid, p_lifecycle jsonb) returns boolean
language sql stable
return (p_lifecycle ->> 'ends')::boolean or not exists (
    select from tasker.dead_letters e where e.task_id = p_task_id and e.reason = 'staleness_timeout');

-- Gives up tasks that are older than `lifecycle.max_duration_minutes` of their template, up to `p_limit` of them. Returns
-- their ids. Tasks that another call holds are left to the next call.
--
-- There is no column with the deadline of a task, so tasks without a time limit cost nothing. A UUIDv7 contains the time
-- of creation, so the index of the lists bounds the search to tasks that are old enough.
create or replace function tasker.end_late_tasks(p_limit integer) returns setof uuid
language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_late uuid[];
begin
    select array_agg(o.task_id) into v_late
    from (
        select t.task_id
        from tasker.tasks t
        where t.task_id = any (array(
            select late.task_id
            from tasker.task_templates tt
            cross join unnest('{pending,in_progress,blocked_by_failures}'::tasker.state[]) s(state)
            cross join lateral (
                select old.task_id from tasker.tasks old
                where old.namespace = tt.namespace and old.state = s.state and old.template_id = tt.template_id
                  and old.created_at < v_now - tt.max_duration_minutes * interval '1 minute'
                  -- Ids come from the clocks of servers, which may be a little ahead.
                  and old.task_id < tasker.smallest_uuid_of(
                      v_now - tt.max_duration_minutes * interval '1 minute' + interval '1 second')
                  and tasker.is_news(old.task_id, tasker.lifecycle(tt.definition))
                order by old.task_id limit p_limit
            ) late
            where tt.max_duration_minutes is not null
            limit p_limit))
          and t.completed_at is null
        order by t.task_id for update skip locked
    ) o;
    if v_late is null then
        return;
    end if;
    perform tasker.give_up(
        t.task_id, tasker.lifecycle(tt.definition), 'the task took longer than max_duration_minutes')
    from tasker.tasks t join tasker.task_templates tt using (template_id)
    where t.task_id = any (v_late);
    perform tasker.release_gates(v_now, v_late);
    return query select unnest(v_late);
end
$$;

-- The limit that makes a task stale; null if it is not. `p_limits` is that of `tasker.staleness`.
--   max_waiting_for_retry_minutes         a step has been `waiting_for_retry` for longer
--   max_steps_in_process_minutes          a step has been `in_progress` for longer
--   max_waiting_for_dependencies_minutes  nothing has happened for longer, although steps are ready: no worker takes them.
--                                         A task whose namespace is paused, or of which a step waits, also at a gate,
--                                         is not stale.
create or replace function tasker.stale_limit(p_now timestamptz, p_task_id uuid, p_limits jsonb) returns text
language sql stable
begin atomic
    with step as (
        select s.step_no, s.state, s.started_at from tasker.steps s
        where s.task_id = p_task_id and s.state in ('in_progress', 'waiting_for_retry', 'waiting')
    )
    select case
        when exists (
            select from step s
            where s.state = 'waiting_for_retry' and (
                select r.at from tasker.transitions r
                where r.task_id = p_task_id and r.step_no = s.step_no order by r.transition_id desc limit 1
            ) < p_now - (p_limits ->> 'max_waiting_for_retry_minutes')::numeric * interval '1 minute')
        then 'max_waiting_for_retry_minutes'
        when exists (
            select from step s
            where s.state = 'in_progress'
              and s.started_at < p_now - (p_limits ->> 'max_steps_in_process_minutes')::numeric * interval '1 minute')
        then 'max_steps_in_process_minutes'
        when not exists (select from step) and not exists (
            select from tasker.gate_waiters w where w.task_id = p_task_id
        ) and not exists (
            select from tasker.gate_holds h where h.task_id = p_task_id and h.starts_at > p_now
        ) and not exists (
            select from tasker.tasks t join tasker.namespaces n on n.namespace = t.namespace
            where t.task_id = p_task_id and n.paused_at is not null
        ) and (
            select r.at from tasker.transitions r where r.task_id = p_task_id order by r.transition_id desc limit 1
        ) < p_now - (p_limits ->> 'max_waiting_for_dependencies_minutes')::numeric * interval '1 minute'
        then 'max_waiting_for_dependencies_minutes'
    end;
end;

-- Gives up stale tasks, up to `p_limit` of them. Returns their ids. It reads the steps of the open tasks that are old
-- enough, of those templates that have a limit. Tasks that are blocked by failures wait for an operator and are not stale.
create or replace function tasker.end_stale_tasks(p_limit integer) returns setof uuid
language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_found uuid[];
    v_task_id uuid;
    v_limits jsonb;
    v_limit text;
begin
    v_found := array(
        select o.task_id
        from (
            select t.task_id
            from tasker.tasks t
            where t.task_id = any (array(
                select stale.task_id
                from tasker.task_templates tt
                cross join lateral (
                    select min(l.value::numeric) * interval '1 minute' as shortest
                    from jsonb_each_text(tt.staleness) l(key, value) where l.key like 'max%' and l.key <> 'max_duration_minutes'
                ) l
                cross join unnest('{pending,in_progress}'::tasker.state[]) s(state)
                cross join lateral (
                    select old.task_id from tasker.tasks old
                    where old.namespace = tt.namespace and old.state = s.state and old.template_id = tt.template_id
                      and old.task_id < tasker.smallest_uuid_of(v_now - l.shortest + interval '1 second')
                      and tasker.stale_limit(v_now, old.task_id, tt.staleness) is not null
                      and tasker.is_news(old.task_id, tt.staleness)
                    order by old.task_id limit p_limit
                ) stale
                where tt.staleness is not null
                limit p_limit))
              and t.completed_at is null
            order by t.task_id for update skip locked
        ) o);
    -- Something may have happened to them before they were locked.
    for v_task_id, v_limits, v_limit in
        select t.task_id, tt.staleness, l.name
        from tasker.tasks t
        join tasker.task_templates tt using (template_id)
        cross join lateral tasker.stale_limit(v_now, t.task_id, tt.staleness) l(name)
        where t.task_id = any (v_found) and l.name is not null
        order by t.task_id
    loop
        perform tasker.give_up(v_task_id, v_limits, 'the task is stale: ' || v_limit);
        return next v_task_id;
    end loop;
    perform tasker.release_gates(v_now, v_found);
end
$$;
