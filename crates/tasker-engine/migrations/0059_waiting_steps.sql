-- The signal that a step waits for.
alter table tasker.steps add column signal text;
