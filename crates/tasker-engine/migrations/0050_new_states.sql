-- Alone, because a new value of an enum cannot be used in the transaction that adds it. Both are at the end, so that
-- comparisons of states keep their meaning.
--   skipped  a step that does not run, because a decision or a condition says so; it is final
--   waiting  a step that waits for a time, a signal or another task
alter type tasker.state add value 'skipped';
alter type tasker.state add value 'waiting';
