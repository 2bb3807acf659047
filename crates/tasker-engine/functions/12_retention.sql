-- Retention: deletes old finished tasks, old rejected messages and old events.
--
-- Deletion has low priority. A call deletes a small batch in a short transaction and skips locked tasks. It
-- does not wait for the disk, because a batch that a crash undoes is deleted again. Only one call deletes at
-- a time; the others return at once.
--
-- Tasks that are not final are kept: tasks that are blocked by failures wait for an operator. Templates are
-- kept, too, and so are PGMQ's archives, which the engine does not use.

-- The smallest UUIDv7 of a time: 48 bits of milliseconds, then zeros.
create or replace function tasker.smallest_uuid_of(p_at timestamptz) returns uuid
language sql immutable parallel safe
return rpad(lpad(to_hex(greatest(extract(epoch from p_at) * 1000, 0)::bigint), 12, '0'), 32, '0')::uuid;

-- Deletes tasks of a namespace that became final (completed, failed, cancelled) more than `p_age` ago, with
-- their steps and history. Their idempotency keys can then be used again. Looks at up to `p_limit` final
-- tasks after the task `p_after`, in the order of creation.
--
-- `next` is the `p_after` of the next call, and null if no task is left. A caller that continues from there
-- does not step over the index entries of deleted tasks, which remain until the next vacuum.
--
-- There is no index for this. A UUIDv7 contains the time of creation, and a task that was created after the
-- limit cannot have finished before it. So the index of the lists, which every change of state maintains
-- anyway, bounds the search.
create or replace function tasker.delete_finished_tasks(
    p_namespace text, p_age interval, p_after uuid, p_limit integer,
    out tasks bigint, out steps bigint, out transitions bigint, out next uuid
)
language plpgsql as $$
declare
    v_before timestamptz := tasker.now() - p_age;
    v_created_before uuid := tasker.smallest_uuid_of(v_before);
    v_seen uuid[];
    v_old uuid[];
begin
    perform set_config('synchronous_commit', 'off', true);
    tasks := 0;
    steps := 0;
    transitions := 0;
    if not pg_try_advisory_xact_lock(hashtext('tasker.housekeeping')) then
        return;
    end if;

    select array_agg(f.task_id order by f.task_id) into v_seen
    from (
        select oldest.task_id
        from unnest('{completed,failed,cancelled}'::tasker.state[]) s(state)
        cross join lateral (
            select t.task_id from tasker.tasks t
            where t.namespace = p_namespace and t.state = s.state
              and t.task_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000') and t.task_id < v_created_before
            order by t.task_id limit p_limit
        ) oldest
        order by oldest.task_id limit p_limit
    ) f;
    if cardinality(v_seen) = p_limit then
        next := v_seen[p_limit];
    end if;

    select array_agg(o.task_id) into v_old
    from (
        select t.task_id from tasker.tasks t
        where t.task_id = any (v_seen) and t.completed_at < v_before
          -- The step that waits for a child looks at it when a worker comes by. Nobody does while a namespace is paused.
          and not exists (
              select from tasker.tasks p where p.task_id = t.parent_task_id and p.completed_at is null)
        order by t.task_id for update skip locked
    ) o;
    if v_old is null then
        return;
    end if;

    -- Lock the steps in the common order, because a worker may still extend a lease.
    perform from tasker.steps s where s.task_id = any (v_old) order by s.task_id, s.step_no for update;
    delete from tasker.steps s where s.task_id = any (v_old);
    get diagnostics steps = row_count;
    delete from tasker.task_values v where v.task_id = any (v_old);
    delete from tasker.reruns r where r.task_id = any (v_old);
    delete from tasker.transitions r where r.task_id = any (v_old);
    get diagnostics transitions = row_count;
    delete from tasker.tasks t where t.task_id = any (v_old);
    get diagnostics tasks = row_count;
end
$$;

-- Deletes messages that were rejected more than `p_age` ago, oldest first, at most `p_limit`. Returns how
-- many. Fewer than `p_limit` means that no more are that old.
create or replace function tasker.delete_rejected_messages(p_age interval, p_limit integer) returns bigint
language plpgsql as $$
declare
    v_before timestamptz := tasker.now() - p_age;
    v_deleted bigint;
begin
    perform set_config('synchronous_commit', 'off', true);
    if not pg_try_advisory_xact_lock(hashtext('tasker.housekeeping')) then
        return 0;
    end if;
    -- Numbers ascend with time, so the first ones are the oldest.
    delete from tasker.rejected_messages r
    where r.rejected_at < v_before and r.rejected_message_id = any (array(
        select o.rejected_message_id from tasker.rejected_messages o order by o.rejected_message_id limit p_limit));
    get diagnostics v_deleted = row_count;
    return v_deleted;
end
$$;

-- Deletes events of a namespace that were published more than `p_age` ago, oldest first, at most `p_limit`. It does not
-- matter whether somebody has read them. Returns how many. Fewer than `p_limit` means that no more are that old.
create or replace function tasker.delete_old_events(p_namespace text, p_age interval, p_limit integer) returns bigint
language plpgsql as $$
declare
    v_queue text := (select n.event_queue from tasker.namespaces n where n.namespace = p_namespace);
    v_deleted bigint;
begin
    perform set_config('synchronous_commit', 'off', true);
    if v_queue is null or not pg_try_advisory_xact_lock(hashtext('tasker.housekeeping')) then
        return 0;
    end if;
    -- Numbers ascend with time, so the first ones are the oldest.
    execute format(
        'delete from pgmq.%1$I q where q.enqueued_at < $1 and q.msg_id = any (array(
             select o.msg_id from pgmq.%1$I o order by o.msg_id limit $2 for update skip locked))', 'q_' || v_queue)
    using tasker.now() - p_age, p_limit;
    get diagnostics v_deleted = row_count;
    return v_deleted;
end
$$;
