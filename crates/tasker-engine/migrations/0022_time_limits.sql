-- Apart from other migrations, because programs of the release before are running: a transaction that locked a second
-- table could deadlock with them.

-- The longest time from the creation of a task to its end. Null in templates of earlier releases, which did not
-- promise it.
alter table tasker.task_templates add column max_duration_minutes integer check (max_duration_minutes >= 1);
create index task_templates_timed on tasker.task_templates (template_id) where max_duration_minutes is not null;
