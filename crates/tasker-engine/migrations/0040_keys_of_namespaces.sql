-- Each namespace has its own idempotency keys. The index of keys of all namespaces goes when the functions that need it
-- have been replaced; see `schema.rs`.
create unique index tasks_idempotency_keys on tasker.tasks (namespace, idempotency_key)
    where idempotency_key is not null;
