-- Schedules. Servers compute the slots, because PostgreSQL knows no cron expressions. The database decides which
-- server handles a slot: the one that finds `next_at` as it read it. A slot is handled in one transaction, which
-- creates the task and moves `next_at`. The idempotency key `schedule:NAME:SLOT` excludes a second task, too.

-- Handles slots. The arrays have one element for each schedule, whose `next_at` must still be `p_expected`. Another
-- server has handled the others, or is doing so. They are left out of the result.
--
-- `p_slots` is the slot to create a task for, and null if every slot up to now was missed. `p_errors` says why a task
-- cannot be created, and is null if it can. `p_traceparents` is the place in a trace, as for `create_tasks`. Outcomes:
--   created   the task exists
--   skipped   the task of an earlier slot is still running
--   missed    the slots were too long ago
--   failed    there is an error, or another request has used the idempotency key
--   outdated  the template has a newer version; the caller must look it up again, and the slot is not handled
create or replace function tasker.fire_schedules(
    p_names text[], p_expected timestamptz[], p_slots timestamptz[], p_next timestamptz[], p_task_ids uuid[],
    p_template_ids bigint[], p_latest boolean[], p_errors text[], p_traceparents text[]
)
returns table (name text, namespace text, template text, slot timestamptz, outcome text, task_id uuid, error text)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_fired tasker.fired_schedule[];
    v_create tasker.fired_schedule[];
    v_created jsonb;
begin
    -- Locks of schedules come before those of tasks. Nothing locks a schedule later.
    select array_agg((
        s.name, a.slot, a.next_at, a.task_id, a.template_id, a.latest, a.error,
        case
            when a.slot is null then 'missed'
            when a.error is not null then 'failed'
            when s.overlap = 'skip' and t.state in ('pending', 'in_progress') then 'skipped'
            else 'created'
        end,
        case when s.overlap = 'cancel' and t.completed_at is null then t.task_id end)::tasker.fired_schedule
        order by s.name)
    into v_fired
    from (
        select l.* from tasker.schedules l where l.name = any (p_names) order by l.name for update skip locked
    ) s
    join unnest(p_names, p_expected, p_slots, p_next, p_task_ids, p_template_ids, p_latest, p_errors)
        a(name, expected, slot, next_at, task_id, template_id, latest, error)
        on a.name = s.name and a.expected = s.next_at and not s.paused
    left join tasker.tasks t on t.task_id = s.last_task_id;

    v_create := array(select f from unnest(v_fired) f where f.outcome = 'created' order by f.name);
    if cardinality(v_create) > 0 then
        -- A later statement, so that the tasks are found.
        select jsonb_object_agg(c.task_id::text, c.outcome) into v_created
        from (
            select f.task_id, r.outcome
            from (
                select array_agg(f.task_id order by f.nth) as task_ids, array_agg(f.template_id order by f.nth)
                           as template_ids, array_agg(f.latest order by f.nth) as latest,
                       array_agg(s.context order by f.nth) as contexts, array_agg(s.priority order by f.nth)
                           as priorities, array_agg(s.tags order by f.nth) as tags,
                       array_agg(k.key order by f.nth) as keys,
                       array_agg(sha256(convert_to(k.key, 'UTF8')) order by f.nth) as hashes,
                       array_agg(p_traceparents[array_position(p_names, f.name)] order by f.nth) as traceparents
                from unnest(v_create) with ordinality
                    f(name, slot, next_at, task_id, template_id, latest, error, outcome, cancel, nth)
                join tasker.schedules s on s.name = f.name
                cross join lateral (
                    select 'schedule:' || f.name || ':'
                        || to_char(f.slot at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as key
                ) k
            ) b
            cross join lateral tasker.create_tasks(
                b.task_ids, b.template_ids, b.latest, b.contexts, b.priorities, b.tags, b.keys, b.hashes,
                b.traceparents) r
            join unnest(v_create) with ordinality
                f(name, slot, next_at, task_id, template_id, latest, error, outcome, cancel, nth) on f.nth = r.ordinal
        ) c;
        perform tasker.store_values(array(
            select c.id::uuid from jsonb_each_text(v_created) c(id, outcome) where c.outcome = 'created'));
        perform tasker.close_task(f.cancel, 'cancelled', 'schedule:' || f.name, 'the next task of the schedule has begun')
        from (
            select o.* from unnest(v_create) o
            where o.cancel is not null and v_created ->> o.task_id::text = 'created'
            order by o.cancel
        ) f;
        perform tasker.release_gates(v_now, array(select o.cancel from unnest(v_create) o where o.cancel is not null));
    end if;

    return query
    with fired as (
        select f.name, f.slot, f.next_at, f.task_id,
               case
                   when f.outcome <> 'created' then f.outcome
                   when v_created ->> f.task_id::text in ('created', 'outdated') then v_created ->> f.task_id::text
                   -- The slot already has its task: the schedule was deleted and stored again.
                   when v_created ->> f.task_id::text = 'existing' then 'skipped'
                   else 'failed'
               end as outcome,
               case
                   when f.outcome = 'created' and v_created ->> f.task_id::text = 'conflict'
                       then 'another request has used the idempotency key of this slot'
                   else f.error
               end as error
        from unnest(v_fired) f
    ), moved as (
        update tasker.schedules s
        set next_at = f.next_at, last_slot = coalesce(f.slot, s.next_at), last_outcome = f.outcome, last_error = f.error,
            last_task_id = case when f.outcome = 'created' then f.task_id else s.last_task_id end
        from fired f
        where s.name = f.name and f.outcome <> 'outdated'
    )
    select f.name, s.namespace, s.template, f.slot, f.outcome,
           case when f.outcome = 'created' then f.task_id end, f.error
    from fired f join tasker.schedules s on s.name = f.name
    order by f.name;
end
$$;
