-- Two roles: the one that migrates owns everything; the one that runs servers and workers may use it, and change no schema.

-- Lets a role use a queue.
create function tasker.grant_queue(p_queue text, p_role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant select, insert, update, delete on pgmq.%I to %s', 'q_' || p_queue, p_role);
end
$$;

-- Lets a role run servers and workers: read and write rows, and call functions. It may make, alter and drop nothing, grant
-- nothing, change no stored template, and not rewrite the history. Called by the owner, after every migration: it can be repeated.
create function tasker.grant_runtime(p_role regrole) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_migrations regclass := (
        select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relname = '_sqlx_migrations'
          and c.relowner = (select t.relowner from pg_class t where t.oid = 'tasker.tasks'::regclass)
        order by n.nspname = 'public' desc limit 1);
begin
    execute format('grant usage on schema tasker, pgmq to %s', p_role);
    execute format('grant select, insert, update, delete on all tables in schema tasker to %s', p_role);
    execute format('revoke update on tasker.transitions, tasker.task_templates, tasker.template_steps from %s', p_role);
    execute format('grant execute on function tasker.ensure_namespace(text) to %s', p_role);
    perform tasker.grant_queue(n.queue, p_role) from tasker.namespaces n;
    -- Which versions of the schema and of PGMQ these are.
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
    tasker.ensure_namespace(text), tasker.grant_queue(text, regrole), tasker.grant_runtime(regrole) from public;
