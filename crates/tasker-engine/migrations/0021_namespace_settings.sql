-- While a namespace is paused, none of its steps start. Null: it is not paused.
alter table tasker.namespaces add column paused_at timestamptz;
-- How long finished tasks of the namespace are kept, in days. Zero: forever. Null: as the settings of the server say.
alter table tasker.namespaces add column finished_tasks_days integer check (finished_tasks_days >= 0);
