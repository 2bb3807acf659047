-- What a step has when its workflow takes shape while it runs. Steps of other workflows leave all of it empty.
alter table tasker.steps
    -- How many of its dependencies were skipped or did not choose it.
    add column skipped_dependencies smallint not null default 0,
    -- What its handler receives besides the input of the task and the results of dependencies: an object.
    --   initialization  a batch: is added to the settings of the handler
    --   item            a map: the element
    add column input jsonb,
    -- A child: the step of the template that it is an instance of, and its own name. Children have numbers from 10,000.
    add column definition smallint,
    add column name text,
    -- A group, which is a step with children: the number of its first child, how many there are, the first one that has
    -- not started, and how many have failed for good.
    add column first_child smallint,
    add column children smallint,
    add column next_child smallint,
    add column failed_children smallint;
