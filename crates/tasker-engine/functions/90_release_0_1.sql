-- Functions as programs of release 0.1 call them. They are removed with the next release.

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

create or replace function tasker.start_steps(
    p_worker_id text, p_namespaces text[], p_limit integer, p_lease interval, p_look_back interval[] default null
)
returns setof tasker.claimed_step
language plpgsql as $$
begin
    perform tasker.pin_plans();
    return query
    select false, s.* from tasker.start_steps(p_worker_id, p_namespaces, p_look_back, p_limit, p_lease) s;
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
    return query select false, h.* from unnest(v_handed) h;
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
