-- When the next message comes.

-- How long until a message of these namespaces becomes visible: a retry whose backoff delay ends, or a step whose lease ends.
-- Zero where one is visible now, null where the queues are empty. Workers sleep that long, so that retries start on time;
-- a span, not a time, because clocks differ.
create function tasker.next_due(p_namespaces text[]) returns interval
language plpgsql
set enable_seqscan = off set jit = off
as $$
declare
    v_now timestamptz := tasker.now();
    v_namespace text;
    v_visible_at timestamptz;
    v_earliest timestamptz;
begin
    foreach v_namespace in array p_namespaces loop
        -- The first entry of the index on vt.
        execute format('select min(vt) from pgmq.%I', 'q_' || tasker.queue_name(v_namespace)) into v_visible_at;
        v_earliest := least(v_earliest, v_visible_at);
    end loop;
    -- Not by greatest(), which passes over nulls.
    return case when v_earliest > v_now then v_earliest - v_now when v_earliest <= v_now then interval '0' end;
end
$$;
