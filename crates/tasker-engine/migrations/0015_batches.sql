-- The arguments and results of the batch functions, as composite types instead of parallel arrays.

-- Names a step that a worker holds.
create type tasker.step_ref as (namespace text, msg_id bigint, task_id uuid, step_no smallint, token uuid);

-- How an attempt ended.
--   completed        the payload is the result
--   retryable_error  the payload is the error, an object with `kind` and `message`; another attempt may succeed
--   permanent_error  the payload is the error; every attempt would fail
--   released         the worker did not run the step; the attempt does not count
create type tasker.outcome as enum ('completed', 'retryable_error', 'permanent_error', 'released');

create type tasker.step_result as (
    namespace text, msg_id bigint, task_id uuid, step_no smallint, token uuid, outcome tasker.outcome, payload jsonb
);

-- All that a worker needs to run a step and to return its result.
create type tasker.leased_step as (
    task_id            uuid,
    step_no            smallint,
    token              uuid,
    msg_id             bigint,
    namespace          text,
    template_name      text,
    template_version   text,
    step_name          text,
    callable           text,
    initialization     jsonb,
    context            jsonb,
    -- json, because jsonb is limited to 256 MiB and many large results can exceed that.
    dependency_results json,
    attempt            smallint,
    max_attempts       smallint,
    timeout_seconds    integer,
    -- How long the message was visible. Null for a step that was handed to the worker that made it ready.
    waited_seconds     double precision
);
