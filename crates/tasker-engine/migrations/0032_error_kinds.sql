-- The kind of the error that ended an attempt. Null if there was none, and in older rows.
alter table tasker.transitions add column error_kind text;
