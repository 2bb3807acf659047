alter table tasker.tasks
    -- The W3C trace context of the request that created the task.
    add column traceparent text,
    -- Whether the workflow has a fixed shape, as its template says.
    add column plain boolean not null default true;
