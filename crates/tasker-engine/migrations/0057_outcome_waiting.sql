-- Alone, because a new value of an enum cannot be used in the transaction that adds it.
--   waiting  the step waits; the payload is an object with `delay_ms`, `signal` and `checkpoint`, each optional; the
--            attempt does not count
alter type tasker.outcome add value 'waiting';
