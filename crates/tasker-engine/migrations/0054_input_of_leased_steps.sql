-- What a handler receives besides the input of the task and the results of dependencies, and the trace context.
alter type tasker.leased_step add attribute input jsonb, add attribute traceparent text;
