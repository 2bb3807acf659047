-- Whether the workflow has a fixed shape: no step has an admission, an outcome or events.
alter table tasker.task_templates add column plain boolean not null default true;
