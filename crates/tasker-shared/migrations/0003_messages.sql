-- What the engine does with messages. They are written straight into PGMQ's queue tables, many at a time and each with its
-- own visibility time, which `pgmq.send_batch` and `pgmq.set_vt` do not offer. Messages are locked with
-- SKIP LOCKED only: who finds one locked leaves it to the reader that holds it, which looks at the step.

-- Puts one message per step into its queue, visible from `p_visible_at` on.
create function tasker.enqueue(
    p_namespaces text[], p_task_ids uuid[], p_step_nos smallint[], p_visible_at timestamptz[]
)
returns table (task_id uuid, step_no smallint, msg_id bigint)
language plpgsql as $$
declare
    v_namespace text;
begin
    for v_namespace in select distinct n from unnest(p_namespaces) n order by n loop
        return query execute format(
            'insert into pgmq.%I (vt, message)
             select m.visible_at, jsonb_build_object(''task_id'', m.task_id, ''step_no'', m.step_no)
             from unnest($1, $2, $3, $4) m(namespace, task_id, step_no, visible_at)
             where m.namespace = $5
             returning (message ->> ''task_id'')::uuid, (message ->> ''step_no'')::smallint, msg_id',
            'q_' || tasker.queue_name(v_namespace))
        using p_namespaces, p_task_ids, p_step_nos, p_visible_at, v_namespace;
    end loop;
end
$$;

-- Deletes messages that have nothing left to say.
create function tasker.delete_messages(p_namespaces text[], p_msg_ids bigint[]) returns void
language plpgsql as $$
declare
    v_namespace text;
begin
    for v_namespace in select distinct n from unnest(p_namespaces) n order by n loop
        execute format(
            'delete from pgmq.%1$I where msg_id = any (array(
                 select q.msg_id from pgmq.%1$I q
                 where q.msg_id = any (array(select m.msg_id from unnest($1, $2) m(namespace, msg_id) where m.namespace = $3))
                 for update skip locked))',
            'q_' || tasker.queue_name(v_namespace))
        using p_namespaces, p_msg_ids, v_namespace;
    end loop;
end
$$;

-- Sets when messages become visible; wakes listeners where that is now.
create function tasker.defer_messages(
    p_namespaces text[], p_msg_ids bigint[], p_visible_at timestamptz[]
) returns void
language plpgsql as $$
declare
    v_queue text;
    v_namespace text;
    v_visible_now boolean;
begin
    for v_namespace, v_visible_now in
        select n, bool_or(visible_at <= tasker.now()) from unnest(p_namespaces, p_visible_at) m(n, visible_at) group by n order by n
    loop
        v_queue := 'q_' || tasker.queue_name(v_namespace);
        execute format(
            'update pgmq.%1$I q set vt = m.visible_at
             from unnest($1, $2, $3) m(namespace, msg_id, visible_at)
             where m.namespace = $4 and q.msg_id = m.msg_id and q.msg_id = any (array(
                 select l.msg_id from pgmq.%1$I l where l.msg_id = any ($2) for update skip locked))',
            v_queue)
        using p_namespaces, p_msg_ids, p_visible_at, v_namespace;
        if v_visible_now then
            perform pg_notify('pgmq.' || v_queue || '.INSERT', '');
        end if;
    end loop;
end
$$;
