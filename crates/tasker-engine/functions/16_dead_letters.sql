-- Investigations of tasks that do not go on by themselves.

-- A UUIDv7 for a time, so that entries sort by the time at which they were opened.
create or replace function tasker.uuid_at(p_at timestamptz) returns uuid
language sql volatile
return (lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0') || '7'
    || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid;

-- Opens an investigation of each task that has none open. Returns how many.
create or replace function tasker.open_dead_letters(p_task_ids uuid[], p_reason text, p_notes text default null)
returns integer
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
    v_opened integer;
begin
    insert into tasker.dead_letters (
        entry_id, task_id, namespace, reason, original_state, status, notes, created_at, updated_at)
    select tasker.uuid_at(v_now), t.task_id, t.namespace, p_reason, t.state, 'pending', p_notes, v_now, v_now
    from tasker.tasks t where t.task_id = any (p_task_ids)
    order by t.task_id
    on conflict (task_id) where status = 'pending' do nothing;
    get diagnostics v_opened = row_count;
    return v_opened;
end
$$;

-- Opens investigations of tasks that are blocked by failures, up to `p_limit`. A task whose investigation was closed
-- gets a new one when it is blocked again. Returns how many.
--
-- Many tasks can be blocked for long, and nearly all have an open investigation. A merge of two indexes finds the
-- others, and reads no rows of the tables. A nested loop would look up each task.
create or replace function tasker.open_blocked_dead_letters(p_limit integer) returns integer
language plpgsql set enable_mergejoin = on set enable_nestloop = off as $$
begin
    return tasker.open_dead_letters(array(
        with blocked as materialized (
            select t.task_id
            from tasker.namespaces n
            cross join lateral (
                select l.task_id from tasker.tasks l
                where l.namespace = n.namespace and l.state = 'blocked_by_failures' offset 0
            ) t
        ), unopened as materialized (
            select b.task_id from blocked b
            where not exists (
                select from tasker.dead_letters e where e.task_id = b.task_id and e.status = 'pending')
        )
        select u.task_id
        from unopened u
        cross join lateral (
            select max(e.resolved_at) as at from tasker.dead_letters e where e.task_id = u.task_id
        ) closed
        where closed.at is null
           or closed.at < (
               select r.at from tasker.transitions r
               where r.task_id = u.task_id and r.step_no is null and r.to_state = 'blocked_by_failures'
               order by r.transition_id desc limit 1)
        limit p_limit), 'max_retries_exceeded');
end
$$;
