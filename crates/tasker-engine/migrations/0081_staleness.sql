-- The limits after which a task of the template is stale, see `tasker.staleness`. Null: none, and in templates of earlier
-- releases.
alter table tasker.task_templates add column staleness jsonb;
create index task_templates_staleness on tasker.task_templates (template_id) where staleness is not null;
