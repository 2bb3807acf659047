-- When the next message comes.

-- How long until a message becomes visible: a retry whose backoff delay ends, or a step whose lease ends; zero where one is visible
-- now. One row for each of the namespaces that has a message. Workers sleep that long, so that retries start on time; a span,
-- not a time, because clocks differ.
create function tasker.next_due(p_namespaces text[]) returns table (namespace text, due interval)
language plpgsql
set enable_seqscan = off set jit = off
as $$
declare
    v_now timestamptz := tasker.now();
    v_visible_at timestamptz;
begin
    foreach namespace in array p_namespaces loop
        -- The first entry of the index on vt.
        execute format('select min(vt) from pgmq.%I', 'q_' || tasker.queue_name(namespace)) into v_visible_at;
        if v_visible_at is not null then
            due := greatest(v_visible_at - v_now, interval '0');
            return next;
        end if;
    end loop;
end
$$;
