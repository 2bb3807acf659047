-- Namespaces, their queues, and templates.

-- The PGMQ queue of a namespace. It has the name of the namespace where PGMQ accepts it (up to 47 characters,
-- case-insensitive). Otherwise the name is a readable part of the namespace and a digest.
create or replace function tasker.queue_name(p_namespace text) returns text
language sql immutable
return case
    when p_namespace ~ '^[a-z0-9_]{1,47}$' then p_namespace
    else left(regexp_replace(lower(p_namespace), '[^a-z0-9]+', '_', 'g'), 30) || '_' || left(md5(p_namespace), 16)
end;

-- Creates the namespace and its queue if they do not exist. It runs with the rights of the owner, because a
-- queue is a table and the runtime role cannot create tables. Every name is qualified, so a caller's search
-- path has no effect.
create or replace function tasker.ensure_namespace(p_namespace text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_queue text := tasker.queue_name(p_namespace);
begin
    if exists (select from tasker.namespaces n where n.namespace = p_namespace) then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext('tasker.ensure_namespace'));
    if exists (select from tasker.namespaces n where n.namespace = p_namespace) then
        return;
    end if;
    if exists (select from tasker.namespaces n where n.event_queue = v_queue) then
        raise exception 'namespace % needs the queue %, which holds the events of another namespace; '
            'choose another name', p_namespace, v_queue using errcode = 'invalid_parameter_value';
    end if;
    perform pgmq.create(v_queue);
    -- Queue rows are updated and deleted all the time. Leave room in the page, and vacuum after a fixed
    -- number of changes.
    execute format('alter table pgmq.%I set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
                    autovacuum_vacuum_threshold = 2000)', 'q_' || v_queue);
    -- Roles that can run steps can use the queue.
    perform tasker.grant_queue(v_queue, r) from tasker.runtime_roles() r;
    insert into tasker.namespaces (namespace, queue, created_at) values (p_namespace, v_queue, tasker.now());
end
$$;

-- Changes the settings of a namespace. Null leaves a setting as it is. `p_days` is how long finished tasks are kept, and
-- -1 means as long as the settings of the server say. Returns whether the namespace exists. A resumed namespace wakes its
-- workers.
create or replace function tasker.set_namespace(p_namespace text, p_paused boolean, p_days integer) returns boolean
language plpgsql as $$
begin
    update tasker.namespaces n
    set paused_at = case
            when p_paused then coalesce(n.paused_at, tasker.now())
            when p_paused is null then n.paused_at
        end,
        finished_tasks_days = case when p_days is null then n.finished_tasks_days else nullif(p_days, -1) end
    where n.namespace = p_namespace;
    if not found then
        return false;
    end if;
    if not p_paused then
        perform tasker.wake(p_namespace, array[tasker.now()]);
    end if;
    return true;
end
$$;

-- Stores one version of a template. `p_steps` is a JSON array in the order of the step numbers. Each element
-- has the columns of `template_steps` as keys. Outcomes:
--   created    the version is new
--   unchanged  the version exists with the same definition
--   conflict   the version exists with another definition
create or replace function tasker.apply_template(
    p_namespace text, p_name text, p_version text, p_version_key text, p_definition jsonb, p_steps jsonb,
    out template_id bigint, out outcome text
)
language plpgsql as $$
declare
    v_stored jsonb;
begin
    perform tasker.ensure_namespace(p_namespace);
    if exists (select from jsonb_array_elements(p_steps) step where step ->> 'events' is not null) then
        perform tasker.ensure_event_queue(p_namespace);
    end if;
    insert into tasker.task_templates as t (
        namespace, name, version, version_key, definition, total_steps, root_steps, max_duration_minutes, staleness,
        created_at, plain)
    select p_namespace, p_name, p_version, p_version_key, p_definition, count(*),
           count(*) filter (where step -> 'dependencies' = '[]'),
           (tasker.lifecycle(p_definition) ->> 'max_duration_minutes')::integer, tasker.staleness(p_definition), tasker.now(),
           bool_and(coalesce(step ->> 'admission', step ->> 'outcome', step ->> 'events') is null)
    from jsonb_array_elements(p_steps) step
    on conflict do nothing
    returning t.template_id into template_id;

    if template_id is null then
        -- Compare the sort key, because versions that differ only in build metadata are the same version.
        select t.template_id, t.definition into template_id, v_stored
        from tasker.task_templates t
        where t.namespace = p_namespace and t.name = p_name and t.version_key = p_version_key;
        outcome := case when v_stored = p_definition then 'unchanged' else 'conflict' end;
        return;
    end if;

    insert into tasker.template_steps (
        template_id, step_no, name, callable, initialization, dependencies, dependents,
        max_attempts, backoff, backoff_base_ms, max_backoff_ms, timeout_seconds, admission, outcome, events)
    select apply_template.template_id, (e.ordinal - 1)::smallint, s.name, s.callable, s.initialization, s.dependencies,
           s.dependents, s.max_attempts, s.backoff, s.backoff_base_ms, s.max_backoff_ms, s.timeout_seconds,
           s.admission, s.outcome, s.events
    from jsonb_array_elements(p_steps) with ordinality e(step, ordinal),
         jsonb_populate_record(null::tasker.template_steps, e.step) s;
    perform tasker.store_gates(p_namespace, apply_template.template_id);
    outcome := 'created';
end
$$;
