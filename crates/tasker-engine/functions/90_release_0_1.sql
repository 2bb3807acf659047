-- Functions of release 0.1 that changed since. Programs of 0.1 call them, and so do calls that were running when the
-- functions were replaced. They are removed with the next release.

create or replace function tasker.pin_plans() returns void
language plpgsql as $$
begin
    if current_setting('plan_cache_mode') <> 'force_generic_plan' then
        perform set_config(name, 'off', false)
        from unnest(array['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit']) name;
        perform set_config('plan_cache_mode', 'force_generic_plan', false);
    end if;
end
$$;

create or replace function tasker.create_tasks(
    p_task_ids uuid[], p_template_ids bigint[], p_latest boolean[], p_contexts jsonb[], p_priorities smallint[],
    p_tags jsonb[], p_idempotency_keys text[], p_request_hashes bytea[]
)
returns table (ordinal bigint, task_id uuid, outcome text, created_at timestamptz)
language plpgsql as $$
begin
    return query
    select c.* from tasker.create_tasks(
        p_task_ids, p_template_ids, p_latest, p_contexts, p_priorities, p_tags, p_idempotency_keys, p_request_hashes,
        array_fill(null::text, array[cardinality(p_task_ids)])) c;
end
$$;

-- A step as release 0.1 knows it.
create or replace function tasker.claimed_step(p_refused boolean, s tasker.leased_step) returns tasker.claimed_step
language sql immutable
return (p_refused, s.task_id, s.step_no, s.token, s.msg_id, s.namespace, s.template_name, s.template_version, s.step_name,
        s.callable, s.initialization, s.context, s.dependency_results, s.attempt, s.max_attempts, s.timeout_seconds,
        s.waited_seconds)::tasker.claimed_step;

create or replace function tasker.claimed_steps(
    p_task_ids uuid[], p_step_nos smallint[], p_msg_ids bigint[], p_waited_seconds double precision[]
)
returns setof tasker.claimed_step
language plpgsql stable
as $$
begin
    return query
    select (tasker.claimed_step(false, s)).* from tasker.leased_steps(p_task_ids, p_step_nos, p_msg_ids, p_waited_seconds) s;
end
$$;

create or replace function tasker.start_steps(
    p_worker_id text, p_namespaces text[], p_limit integer, p_lease interval, p_look_back interval[] default null
)
returns setof tasker.claimed_step
language plpgsql as $$
begin
    perform tasker.pin_plans();
    return query
    select (tasker.claimed_step(false, s)).* from tasker.start_steps(p_worker_id, p_namespaces, p_look_back, p_limit, p_lease) s;
end
$$;

create or replace function tasker.complete_steps(
    p_worker_id text, p_namespaces text[], p_take integer, p_lease interval,
    p_result_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_tokens uuid[],
    p_outcomes text[], p_payloads jsonb[]
)
returns setof tasker.claimed_step
language plpgsql as $$
declare
    v_refused integer[];
    v_handed tasker.leased_step[];
begin
    perform tasker.pin_plans();
    select c.refused, c.handed into v_refused, v_handed
    from tasker.complete_steps(p_worker_id, p_namespaces, p_take, p_lease, array(
        select (r.namespace, r.msg_id, r.task_id, r.step_no, r.token, r.outcome::tasker.outcome,
                r.payload)::tasker.step_result
        from unnest(p_result_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens, p_outcomes, p_payloads)
            with ordinality r(namespace, msg_id, task_id, step_no, token, outcome, payload, nth)
        order by r.nth)) c;
    return query
    select true, p_task_ids[nth], p_step_nos[nth], p_tokens[nth], p_msg_ids[nth], p_result_namespaces[nth], null::text,
           null::text, null::text, null::text, null::jsonb, null::jsonb, null::json, null::smallint, null::smallint,
           null::integer, null::double precision
    from unnest(v_refused) nth;
    return query select (tasker.claimed_step(false, h)).* from unnest(v_handed) h;
end
$$;

create or replace function tasker.extend_leases(
    p_lease interval, p_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_tokens uuid[]
)
returns table (task_id uuid, step_no smallint)
language plpgsql as $$
begin
    perform tasker.pin_plans();
    return query
    select p_task_ids[nth], p_step_nos[nth]
    from tasker.extend_leases(p_lease, array(
        select (r.namespace, r.msg_id, r.task_id, r.step_no, r.token)::tasker.step_ref
        from unnest(p_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens) with ordinality
            r(namespace, msg_id, task_id, step_no, token, nth)
        order by r.nth)) nth;
end
$$;

create or replace function tasker.list_tasks(p_namespace text, p_states tasker.state[], p_before uuid, p_limit bigint)
returns setof tasker.tasks
language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off set plan_cache_mode = force_generic_plan
as $$
    select newest.*
    from tasker.namespaces n
    cross join unnest(p_states) s(state)
    cross join lateral (
        select * from tasker.tasks t
        where t.namespace = n.namespace and t.state = s.state
          and t.task_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        order by t.task_id desc limit p_limit
    ) newest
    where p_namespace is null or n.namespace = p_namespace
    order by newest.task_id desc limit p_limit
$$;

create or replace function tasker.heartbeat(
    p_worker_id text, p_namespaces text[], p_status text, p_max_concurrent integer, p_version text, p_host text,
    p_started_at timestamptz
) returns void
language sql as $$
    select tasker.heartbeat(
        p_worker_id, p_namespaces, p_status, p_max_concurrent, p_version, p_host, p_started_at, null, null, null, null)
$$;
