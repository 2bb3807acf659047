-- Messages. The engine writes them directly into PGMQ's queue tables, many at a time and each with its own
-- visibility time. `pgmq.send_batch` and `pgmq.set_vt` do not offer that. Messages are locked with SKIP
-- LOCKED only: a locked message is left to the reader that holds it, which looks at the step.
--
-- A statement on a queue table is planned at every call, because the table's name is part of its text. So
-- these statements are simple. Nearly every call is about one namespace, and then its arrays are used as they
-- are.
--
-- Message ids also come from workers. So a message is changed only if it names the expected step.

-- The distinct namespaces of an array.
create or replace function tasker.distinct_namespaces(p_namespaces text[]) returns text[]
language plpgsql immutable as $$
begin
    if p_namespaces[1] = all (p_namespaces) then
        return p_namespaces[1:1];
    end if;
    return array(select distinct n from unnest(p_namespaces) n order by n);
end
$$;

-- Sends one message for each step to its queue, visible from `p_visible_at`. Wakes listeners of queues where
-- a message is visible now.
create or replace function tasker.enqueue(
    p_namespaces text[], p_task_ids uuid[], p_step_nos smallint[], p_visible_at timestamptz[]
)
returns table (task_id uuid, step_no smallint, msg_id bigint)
language plpgsql as $$
declare
    v_namespaces text[] := tasker.distinct_namespaces(p_namespaces);
    v_namespace text;
    v_task_ids uuid[] := p_task_ids;
    v_step_nos smallint[] := p_step_nos;
    v_visible_at timestamptz[] := p_visible_at;
begin
    foreach v_namespace in array v_namespaces loop
        if cardinality(v_namespaces) > 1 then
            select array_agg(m.task_id), array_agg(m.step_no), array_agg(m.visible_at)
            into v_task_ids, v_step_nos, v_visible_at
            from unnest(p_namespaces, p_task_ids, p_step_nos, p_visible_at) m(namespace, task_id, step_no, visible_at)
            where m.namespace = v_namespace;
        end if;
        return query execute format(
            'insert into pgmq.%I (vt, message)
             select visible_at, jsonb_build_object(''task_id'', task_id, ''step_no'', step_no)
             from unnest($1, $2, $3) m(task_id, step_no, visible_at)
             returning (message ->> ''task_id'')::uuid, (message ->> ''step_no'')::smallint, msg_id',
            'q_' || tasker.queue_name(v_namespace))
        using v_task_ids, v_step_nos, v_visible_at;
        perform tasker.wake(v_namespace, v_visible_at);
    end loop;
end
$$;

-- Wakes the listeners of a queue if one of the messages is visible. It sends one notification on PGMQ's own
-- channel (`pgmq.q_NAME.INSERT`). PGMQ's trigger would send one for each row, and for hidden messages too.
-- The payload is the number of seconds since the first message became visible, for `start_steps`.
create or replace function tasker.wake(p_namespace text, p_visible_at timestamptz[]) returns void
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
begin
    if v_now >= any (p_visible_at) then
        perform pg_notify('pgmq.q_' || tasker.queue_name(p_namespace) || '.INSERT',
            (select ceil(extract(epoch from v_now - min(at)))::text from unnest(p_visible_at) at));
    end if;
end
$$;

-- Deletes messages that are no longer needed.
create or replace function tasker.delete_messages(
    p_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[]
) returns void
language plpgsql as $$
declare
    v_namespace text;
    v_msg_ids bigint[];
    v_contents text[];
begin
    foreach v_namespace in array tasker.distinct_namespaces(p_namespaces) loop
        select array_agg(m.msg_id), array_agg(m.msg_id || ' ' || m.task_id || ' ' || m.step_no)
        into v_msg_ids, v_contents
        from unnest(p_namespaces, p_msg_ids, p_task_ids, p_step_nos) m(namespace, msg_id, task_id, step_no)
        where m.namespace = v_namespace;
        -- Not a join: the planner believes that a recently empty queue is short, and a join would read all of
        -- it.
        execute format(
            'delete from pgmq.%1$I where msg_id = any (array(
                 select msg_id from pgmq.%1$I
                 where msg_id = any ($1)
                   and msg_id || '' '' || (message ->> ''task_id'') || '' '' || (message ->> ''step_no'') = any ($2)
                 for update skip locked))',
            'q_' || tasker.queue_name(v_namespace))
        using v_msg_ids, v_contents;
    end loop;
end
$$;

-- Sets the visibility time of messages and wakes listeners of those that are visible now. Returns the steps
-- whose messages were set. Messages that are locked or missing are not set.
create or replace function tasker.defer_messages(
    p_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_visible_at timestamptz[]
)
returns table (task_id uuid, step_no smallint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_namespaces text[] := tasker.distinct_namespaces(p_namespaces);
    v_namespace text;
    v_msg_ids bigint[] := p_msg_ids;
    v_task_ids uuid[] := p_task_ids;
    v_step_nos smallint[] := p_step_nos;
    v_visible_at timestamptz[] := p_visible_at;
begin
    foreach v_namespace in array v_namespaces loop
        if cardinality(v_namespaces) > 1 then
            select array_agg(m.msg_id), array_agg(m.task_id), array_agg(m.step_no), array_agg(m.visible_at)
            into v_msg_ids, v_task_ids, v_step_nos, v_visible_at
            from unnest(p_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_visible_at)
                m(namespace, msg_id, task_id, step_no, visible_at)
            where m.namespace = v_namespace;
        end if;
        return query execute format(
            'update pgmq.%1$I q set vt = m.visible_at
             from unnest($1, $2, $3, $4) m(msg_id, task_id, step_no, visible_at)
             where q.msg_id = m.msg_id
               and q.message ->> ''task_id'' = m.task_id::text and q.message ->> ''step_no'' = m.step_no::text
               and q.msg_id = any (array(
                   select l.msg_id from pgmq.%1$I l where l.msg_id = any ($1) for update skip locked))
             returning m.task_id, m.step_no',
            'q_' || tasker.queue_name(v_namespace))
        using v_msg_ids, v_task_ids, v_step_nos, v_visible_at;
        perform tasker.wake(v_namespace, v_visible_at);
    end loop;
end
$$;
