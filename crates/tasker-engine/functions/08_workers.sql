-- Workers and their heartbeats.

-- A worker is lost if its last heartbeat is older than this.
create or replace function tasker.heartbeat_timeout() returns interval
language sql immutable parallel safe
return interval '20 seconds';

-- Records the heartbeat of a worker. The first call registers the worker. The record does not have to survive
-- a crash of PostgreSQL. Workers that sent no heartbeat for a day are deleted.
--
-- The counts are those since the worker's start. The rates are those since its last heartbeat.
create or replace function tasker.heartbeat(
    p_worker_id text, p_namespaces text[], p_status text, p_max_concurrent integer, p_version text, p_host text,
    p_started_at timestamptz, p_handlers text[], p_running_steps integer, p_completed_steps bigint,
    p_failed_steps bigint
) returns void
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into tasker.workers as w (
        worker_id, namespaces, status, max_concurrent, version, host, started_at, last_heartbeat_at, handlers,
        running_steps, completed_steps, failed_steps)
    values (
        p_worker_id, p_namespaces, p_status, p_max_concurrent, p_version, p_host, p_started_at, v_now, p_handlers,
        p_running_steps, p_completed_steps, p_failed_steps)
    on conflict (worker_id) do update
    set namespaces = excluded.namespaces, status = excluded.status, max_concurrent = excluded.max_concurrent,
        version = excluded.version, host = excluded.host, started_at = excluded.started_at, last_heartbeat_at = v_now,
        -- A long list is stored out of line. If it is the same, it is not written again.
        handlers = case when w.handlers = excluded.handlers then w.handlers else excluded.handlers end,
        running_steps = excluded.running_steps, completed_steps = excluded.completed_steps,
        failed_steps = excluded.failed_steps,
        completed_per_second = tasker.rate(
            w.completed_steps, excluded.completed_steps, w.last_heartbeat_at, v_now, w.completed_per_second),
        failed_per_second = tasker.rate(
            w.failed_steps, excluded.failed_steps, w.last_heartbeat_at, v_now, w.failed_per_second);
    delete from tasker.workers w where w.last_heartbeat_at < v_now - interval '1 day' and w.worker_id <> p_worker_id;
end
$$;

-- The rate at which a count grew. Within a second of the last heartbeat, the last rate says more. A count that became
-- smaller belongs to a worker that started again.
create or replace function tasker.rate(
    p_before bigint, p_after bigint, p_at timestamptz, p_now timestamptz, p_last double precision
) returns double precision
language sql immutable
return case
    when p_after < p_before or p_before is null then null
    when p_now < p_at + interval '1 second' then p_last
    else (p_after - p_before) / extract(epoch from p_now - p_at)
end;
