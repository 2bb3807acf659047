-- Lists of tasks.

-- The newest tasks in the given states, of one namespace or all, created before the task `p_before`. Newest
-- first. Every filter is a set of short backward scans of one index, so no list becomes slower with the
-- number of tasks.
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
