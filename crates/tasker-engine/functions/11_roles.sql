-- Two roles. The role that migrates owns everything. The runtime role of servers and workers can use it but
-- not change the schema.

-- Lets a role use a queue.
create or replace function tasker.grant_queue(p_queue text, p_role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant select, insert, update, delete on pgmq.%I to %s', 'q_' || p_queue, p_role);
end
$$;

-- Lets a role run servers and workers: it can read and write rows and call functions. It cannot create,
-- alter, drop or grant anything, change a stored template or rewrite the history. The owner calls it once for
-- each role. Every migration repeats it for the roles that have these rights.
create or replace function tasker.grant_runtime(p_role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_migrations regclass := (
        select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relname = '_sqlx_migrations'
          and c.relowner = (select t.relowner from pg_class t where t.oid = 'tasker.tasks'::regclass)
        order by n.nspname = 'public' desc limit 1);
begin
    execute format('grant usage on schema tasker, tasker_queues, pgmq to %s', p_role);
    execute format('grant select, insert, update, delete on all tables in schema tasker to %s', p_role);
    execute format('revoke update on tasker.transitions, tasker.task_templates, tasker.template_steps from %s', p_role);
    execute format('revoke insert, update, delete on tasker.installation from %s', p_role);
    execute format('grant execute on function tasker.ensure_namespace(text), tasker.ensure_event_queue(text) to %s', p_role);
    perform tasker.grant_queue(n.queue, p_role) from tasker.namespaces n;
    perform tasker.grant_queue(n.event_queue, p_role) from tasker.namespaces n where n.event_queue is not null;
    -- The versions of the schema and of PGMQ.
    if v_migrations is not null then
        execute format('revoke all on %s from %s', v_migrations, p_role);
        execute format('grant select on %s to %s', v_migrations, p_role);
    end if;
    if to_regclass('pgmq.__pgmq_migrations') is not null then
        execute format('grant select on pgmq.__pgmq_migrations to %s', p_role);
    end if;
end
$$;

revoke execute on function
    tasker.ensure_namespace(text), tasker.ensure_event_queue(text), tasker.create_queue_functions(text), tasker.grant_queue(text, regrole),
    tasker.grant_runtime(regrole) from public;

-- The runtime roles: the roles other than the owner that can change steps.
create or replace function tasker.runtime_roles() returns setof regrole
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select a.grantee::regrole
    from pg_class c, aclexplode(c.relacl) a
    where c.oid = 'tasker.steps'::regclass and a.privilege_type = 'UPDATE' and a.grantee not in (0, c.relowner);
end;
