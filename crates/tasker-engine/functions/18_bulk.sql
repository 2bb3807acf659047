-- Reruns, and operators' actions on all tasks that match a filter.

-- Creates a task as `create_findable_tasks` does, and records that it reruns another one.
create or replace function tasker.rerun_task(
    p_rerun_of uuid, p_actor text, p_reason text, p_task_id uuid, p_template_id bigint, p_latest boolean,
    p_context jsonb, p_priority smallint, p_tags jsonb, p_idempotency_key text, p_request_hash bytea,
    p_traceparent text, p_names text[], p_values text[]
)
returns table (task_id uuid, outcome text, created_at timestamptz)
language plpgsql as $$
#variable_conflict use_column
begin
    return query
    select c.task_id, c.outcome, c.created_at
    from tasker.create_findable_tasks(
        array[p_task_id], array[p_template_id], array[p_latest], array[p_context], array[p_priority], array[p_tags],
        array[p_idempotency_key], array[p_request_hash], array[p_traceparent],
        array_fill(p_task_id, array[cardinality(p_names)]),
        p_names, p_values) c;
    insert into tasker.reruns (task_id, rerun_of, actor, reason)
    select p_task_id, p_rerun_of, p_actor, p_reason
    where exists (select from tasker.tasks t where t.task_id = p_task_id);
end
$$;

-- Stores a job. Jobs that ended more than 30 days ago are deleted.
create or replace function tasker.create_bulk_job(
    p_job_id uuid, p_action text, p_filter jsonb, p_namespaces text[], p_actor text, p_reason text
) returns void
language sql as $$
    delete from tasker.bulk_jobs j where j.finished_at < tasker.now() - interval '30 days';
    -- A job's id is a UUIDv7, so it is larger than the ids of all tasks that exist.
    insert into tasker.bulk_jobs (
        job_id, action, filter, namespaces, actor, reason, status, before, created_at, updated_at)
    values (p_job_id, p_action, p_filter, p_namespaces, p_actor, p_reason, 'running', p_job_id, tasker.now(),
            tasker.now());
$$;

-- Applies the action of a job to tasks, and records the progress. The tasks match the job's filter, are older than the
-- task `p_before`, and are in descending order; `p_next` is where the search for the next ones begins, and null at the
-- end. Tasks beyond `p_max_steps` steps are left for the next batch. Does nothing if the job has ended, if another
-- server has got further, or works on the job now.
create or replace function tasker.run_bulk_batch(
    p_job_id uuid, p_before uuid, p_task_ids uuid[], p_next uuid, p_max_steps integer
) returns boolean
language plpgsql as $$
declare
    v_now timestamptz := tasker.now();
    v_job tasker.bulk_jobs;
    v_ids uuid[];
    v_next uuid := p_next;
    v_done bigint;
begin
    select * into v_job from tasker.bulk_jobs j
    where j.job_id = p_job_id and j.status = 'running' and j.before = p_before
    for update skip locked;
    if v_job.job_id is null then
        return false;
    end if;

    v_ids := array(
        select s.task_id from (
            select t.task_id, sum(t.total_steps) over (order by t.task_id desc) - t.total_steps as steps_before
            from tasker.tasks t where t.task_id = any (p_task_ids)
        ) s
        where s.steps_before < p_max_steps order by s.task_id);
    if cardinality(v_ids) > 0 and v_ids[1] > p_task_ids[cardinality(p_task_ids)] then
        v_next := v_ids[1];
    end if;

    -- Lock all of them in the common order. The functions of the single actions then find their rows locked.
    perform from tasker.tasks t where t.task_id = any (v_ids) order by t.task_id for update;
    perform from tasker.steps s where s.task_id = any (v_ids) order by s.task_id, s.step_no for update;
    if v_job.action = 'retry' then
        select count(*) filter (where o.outcome = 'done') into v_done
        from unnest(v_ids) i(task_id)
        cross join lateral tasker.retry_steps(i.task_id, null, v_job.actor, v_job.reason) o;
    else
        select count(*) filter (where o.outcome = 'done') into v_done
        from unnest(v_ids) i(task_id)
        cross join lateral tasker.close_task(
            i.task_id, (case v_job.action when 'cancel' then 'cancelled' else 'failed' end)::tasker.state,
            v_job.actor, v_job.reason) o;
        perform tasker.release_gates(v_now, v_ids);
    end if;

    update tasker.bulk_jobs j
    set examined = j.examined + cardinality(v_ids), done = j.done + v_done,
        skipped = j.skipped + cardinality(v_ids) - v_done, before = coalesce(v_next, j.before), updated_at = v_now,
        status = case when v_next is null then 'completed' else 'running' end,
        finished_at = case when v_next is null then v_now end
    where j.job_id = p_job_id;
    return true;
end
$$;

-- Ends a job before it is complete: an operator stopped it, or an error makes it impossible. False if it has ended.
create or replace function tasker.end_bulk_job(p_job_id uuid, p_status text, p_error text) returns boolean
language sql as $$
    update tasker.bulk_jobs j
    set status = p_status, error = p_error, updated_at = tasker.now(), finished_at = tasker.now()
    where j.job_id = p_job_id and j.status = 'running'
    returning true
$$;
