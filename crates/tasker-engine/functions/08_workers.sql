-- Workers and their heartbeats.

-- Records the heartbeat of a worker. The first call registers the worker. The record does not have to survive
-- a crash of PostgreSQL. Workers that sent no heartbeat for a day are deleted.
create or replace function tasker.heartbeat(
    p_worker_id text, p_namespaces text[], p_status text, p_max_concurrent integer, p_version text, p_host text,
    p_started_at timestamptz
) returns void
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into tasker.workers (
        worker_id, namespaces, status, max_concurrent, version, host, started_at, last_heartbeat_at)
    values (p_worker_id, p_namespaces, p_status, p_max_concurrent, p_version, p_host, p_started_at, v_now)
    on conflict (worker_id) do update
    set namespaces = excluded.namespaces, status = excluded.status, max_concurrent = excluded.max_concurrent,
        version = excluded.version, host = excluded.host, started_at = excluded.started_at, last_heartbeat_at = v_now;
    delete from tasker.workers w where w.last_heartbeat_at < v_now - interval '1 day' and w.worker_id <> p_worker_id;
end
$$;
