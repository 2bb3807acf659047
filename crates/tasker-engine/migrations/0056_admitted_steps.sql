-- A step whose dependencies have settled, and what is decided about it.
create type tasker.admitted_step as (
    task_id uuid, step_no smallint, namespace text, priority smallint, action text, name text, admission jsonb
);
