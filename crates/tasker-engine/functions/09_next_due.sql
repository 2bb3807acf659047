-- When the next message becomes visible.

-- The time until the first message becomes visible: the end of a backoff delay or of a lease, and zero if a
-- message is visible now. There is one row for each of the namespaces that has a message and is not paused. Workers
-- sleep that long, so that retries start on time. It is a duration and not a time, because clocks differ.
create or replace function tasker.next_due(p_namespaces text[]) returns table (namespace text, due interval)
language plpgsql
set enable_seqscan = off set jit = off
as $$
declare
    v_now timestamptz := tasker.now();
    v_visible_at timestamptz;
begin
    foreach namespace in array p_namespaces loop
        continue when exists (
            select from tasker.namespaces n where n.namespace = next_due.namespace and n.paused_at is not null);
        -- The first entry of the index on vt.
        execute format('select min(vt) from pgmq.%I', 'q_' || tasker.queue_name(namespace)) into v_visible_at;
        if v_visible_at is not null then
            due := greatest(v_visible_at - v_now, interval '0');
            return next;
        end if;
    end loop;
end
$$;
