-- Messages. The engine writes them directly into PGMQ's queue tables, many at a time and each with its own
-- visibility time. `pgmq.send_batch` and `pgmq.set_vt` do not offer that. Messages are locked with SKIP
-- LOCKED only: a locked message is left to the reader that holds it, which looks at the step.
--
-- Each queue has functions of its own in schema `tasker_queues`, with the table's name in their text. So their
-- statements are planned once for each session. Planning them at every call cost more than running them.
--
-- Message ids also come from workers. So a message is changed only if it names the expected step.

-- Creates the functions of a queue:
--   read    hides up to `p_limit` messages that became visible between two times, oldest first, and returns them
--   send    sends a message for each step, visible from a given time
--   move    makes a message name another step of the same task; false if it is locked or missing
--   delete  deletes messages
--   defer   sets the visibility time of messages; returns their steps
-- Messages that are locked or missing are left alone.
create or replace function tasker.create_queue_functions(p_queue text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $create$
declare
    v_table text := 'q_' || p_queue;
begin
    execute format($sql$
        create or replace function tasker_queues.%I(
            p_namespace text, p_after timestamptz, p_until timestamptz, p_limit integer, p_hidden_until timestamptz
        ) returns tasker.read_message[] language plpgsql as $$
        declare
            v_msg_ids bigint[];
            v_read tasker.read_message[];
        begin
            select array_agg(m.msg_id), array_agg((
                p_namespace, m.msg_id, m.vt,
                case when m.message ->> 'task_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                     then (m.message ->> 'task_id')::uuid end,
                case when m.message ->> 'step_no' ~ '^(0|[1-9][0-9]{0,3}|[12][0-9]{4})$'
                     then (m.message ->> 'step_no')::smallint end)::tasker.read_message)
            into v_msg_ids, v_read
            from (
                select q.msg_id, q.vt, q.message from pgmq.%2$I q
                where q.vt > p_after and q.vt <= p_until order by q.vt limit p_limit for update skip locked
            ) m;
            if v_read is not null then
                update pgmq.%2$I q set vt = p_hidden_until, read_ct = q.read_ct + 1 where q.msg_id = any (v_msg_ids);
            end if;
            return v_read;
        end
        $$ $sql$, 'read_' || p_queue, v_table);

    execute format($sql$
        create or replace function tasker_queues.%I(
            p_task_ids uuid[], p_step_nos smallint[], p_visible_at timestamptz[]
        ) returns table (task_id uuid, step_no smallint, msg_id bigint) language plpgsql as $$
        begin
            return query
            insert into pgmq.%I as q (vt, message)
            select m.visible_at, jsonb_build_object('task_id', m.task_id, 'step_no', m.step_no)
            from unnest(p_task_ids, p_step_nos, p_visible_at) m(task_id, step_no, visible_at)
            returning (q.message ->> 'task_id')::uuid, (q.message ->> 'step_no')::smallint, q.msg_id;
        end
        $$ $sql$, 'send_' || p_queue, v_table);

    execute format($sql$
        create or replace function tasker_queues.%I(
            p_step tasker.step_result, p_next smallint, p_visible_at timestamptz
        ) returns boolean language plpgsql as $$
        begin
            update pgmq.%2$I q
            set vt = p_visible_at, read_ct = 0, enqueued_at = now(),
                message = jsonb_build_object('task_id', p_step.task_id, 'step_no', p_next)
            where q.msg_id = (
                select l.msg_id from pgmq.%2$I l
                where l.msg_id = p_step.msg_id
                  and l.message ->> 'task_id' = p_step.task_id::text
                  and l.message ->> 'step_no' = p_step.step_no::text
                for update skip locked);
            return found;
        end
        $$ $sql$, 'move_' || p_queue, v_table);

    -- Not a join: the planner believes that a recently empty queue is short, and a join would read all of it.
    execute format($sql$
        create or replace function tasker_queues.%I(
            p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[]
        ) returns void language plpgsql as $$
        declare
            v_contents text[] := array(
                select m.msg_id || ' ' || m.task_id || ' ' || m.step_no
                from unnest(p_msg_ids, p_task_ids, p_step_nos) m(msg_id, task_id, step_no));
        begin
            delete from pgmq.%2$I q where q.msg_id = any (array(
                select l.msg_id from pgmq.%2$I l
                where l.msg_id = any (p_msg_ids)
                  and l.msg_id || ' ' || (l.message ->> 'task_id') || ' ' || (l.message ->> 'step_no') = any (v_contents)
                for update skip locked));
        end
        $$ $sql$, 'delete_' || p_queue, v_table);

    execute format($sql$
        create or replace function tasker_queues.%I(
            p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_visible_at timestamptz[]
        ) returns table (task_id uuid, step_no smallint) language plpgsql as $$
        begin
            return query
            update pgmq.%2$I q set vt = m.visible_at
            from unnest(p_msg_ids, p_task_ids, p_step_nos, p_visible_at) m(msg_id, task_id, step_no, visible_at)
            where q.msg_id = m.msg_id
              and q.message ->> 'task_id' = m.task_id::text and q.message ->> 'step_no' = m.step_no::text
              and q.msg_id = any (array(
                  select l.msg_id from pgmq.%2$I l where l.msg_id = any (p_msg_ids) for update skip locked))
            returning m.task_id, m.step_no;
        end
        $$ $sql$, 'defer_' || p_queue, v_table);
end
$create$;

-- Every namespace has the functions of its queue. They come and go with its row.
create or replace function tasker.follow_namespace() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_function regprocedure;
begin
    if tg_op = 'INSERT' then
        perform tasker.create_queue_functions(new.queue);
        return new;
    end if;
    for v_function in
        select p.oid from pg_proc p
        where p.pronamespace = 'tasker_queues'::regnamespace
          and p.proname = any (array(
              select verb || '_' || old.queue from unnest('{read,send,move,delete,defer}'::text[]) verb))
    loop
        execute format('drop function %s', v_function);
    end loop;
    return old;
end
$$;
create or replace trigger follow_namespace after insert or delete on tasker.namespaces
for each row execute function tasker.follow_namespace();
-- A new version of the functions.
select tasker.create_queue_functions(n.queue) from tasker.namespaces n;

-- The name of a queue's function.
create or replace function tasker.queue_function(p_verb text, p_namespace text) returns text
language sql immutable
return p_verb || '_' || tasker.queue_name(p_namespace);

-- The distinct namespaces of an array. Nearly every call is about one namespace, and then the other arrays are
-- used as they are.
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
            'select * from tasker_queues.%I($1, $2, $3)', tasker.queue_function('send', v_namespace))
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
    v_namespaces text[] := tasker.distinct_namespaces(p_namespaces);
    v_namespace text;
    v_msg_ids bigint[] := p_msg_ids;
    v_task_ids uuid[] := p_task_ids;
    v_step_nos smallint[] := p_step_nos;
begin
    foreach v_namespace in array v_namespaces loop
        if cardinality(v_namespaces) > 1 then
            select array_agg(m.msg_id), array_agg(m.task_id), array_agg(m.step_no)
            into v_msg_ids, v_task_ids, v_step_nos
            from unnest(p_namespaces, p_msg_ids, p_task_ids, p_step_nos) m(namespace, msg_id, task_id, step_no)
            where m.namespace = v_namespace;
        end if;
        execute format('select tasker_queues.%I($1, $2, $3)', tasker.queue_function('delete', v_namespace))
        using v_msg_ids, v_task_ids, v_step_nos;
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
            'select * from tasker_queues.%I($1, $2, $3, $4)', tasker.queue_function('defer', v_namespace))
        using v_msg_ids, v_task_ids, v_step_nos, v_visible_at;
        perform tasker.wake(v_namespace, v_visible_at);
    end loop;
end
$$;
