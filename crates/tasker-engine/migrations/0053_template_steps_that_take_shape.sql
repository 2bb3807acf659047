-- How steps make a workflow take shape while it runs. `Engine::apply_template` writes it.
alter table tasker.template_steps
    -- What decides whether and how the step runs once its dependencies have settled. Null: it runs.
    --   join    'any': it runs if one of its dependencies was not skipped; otherwise none may be skipped
    --   when    conditions on results of dependencies, all of which must hold
    --   expand  the step is a group, with a child for each batch or each element of a list
    add column admission jsonb,
    -- What else its result decides: 'decision' (which dependents run) or 'batches' (the children of batch workers).
    add column outcome text check (outcome in ('decision', 'batches')),
    -- The domain events that it publishes.
    add column events jsonb;
