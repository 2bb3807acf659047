-- The queue of the domain events of a namespace. Null: no template of the namespace has events.
alter table tasker.namespaces add column event_queue text unique;
