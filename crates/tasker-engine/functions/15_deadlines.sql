-- Time limits of tasks.

-- Cancels tasks that are older than `lifecycle.max_duration_minutes` of their template, up to `p_limit` of them. Returns
-- their ids. Tasks that another call holds are left to the next call. Opens investigations of them, unless the template
-- says `staleness_action: error`.
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
    perform tasker.close_task(l.task_id, 'cancelled', 'tasker', 'the task took longer than max_duration_minutes')
    from unnest(v_late) l(task_id);
    perform tasker.release_gates(v_now, v_late);
    perform tasker.open_dead_letters(array(
        select t.task_id from tasker.tasks t join tasker.task_templates tt using (template_id)
        where t.task_id = any (v_late)
          and coalesce(tt.definition #>> '{lifecycle,staleness_action}', 'dlq') = 'dlq'), 'staleness_timeout');
    return query select unnest(v_late);
end
$$;
