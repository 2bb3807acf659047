-- The invariants of single rows. Migration 0016 says why they are functions and not expressions of CHECK
-- constraints. A null counts as true, as in every CHECK constraint.

create or replace function tasker.step_is_valid(
    p_state tasker.state, p_pending_dependencies smallint, p_attempts smallint, p_due_at timestamptz, p_token uuid,
    p_result jsonb
) returns boolean
language plpgsql immutable as $$
begin
    return p_state <> 'blocked_by_failures'
        and p_pending_dependencies >= 0 and p_attempts >= 0
        and (p_state = 'pending') <= (p_pending_dependencies > 0)
        -- The fencing token belongs to a lease.
        and (p_token is not null) = (p_state = 'in_progress')
        and (p_state = 'waiting'
             or (p_due_at is not null) = (p_state between 'in_progress' and 'waiting_for_retry'))
        and (p_result is null or p_state = 'completed' or p_state = 'resolved_manually');
end
$$;

create or replace function tasker.task_is_valid(
    p_state tasker.state, p_priority smallint, p_total_steps smallint, p_completed_steps smallint,
    p_failed_steps smallint, p_active_steps smallint, p_completed_at timestamptz, p_request_hash bytea,
    p_idempotency_key text
) returns boolean
language plpgsql immutable as $$
begin
    return p_state <> 'enqueued' and p_state <> 'waiting_for_retry' and p_state <> 'resolved_manually'
        and p_state <> 'skipped' and p_state <> 'waiting'
        and p_priority between 0 and 100
        and p_completed_steps >= 0 and p_failed_steps >= 0 and p_active_steps >= 0
        and p_completed_steps + p_failed_steps + p_active_steps <= p_total_steps
        and (p_completed_at is not null) = (p_state between 'completed' and 'cancelled')
        and (p_idempotency_key is null) = (p_request_hash is null);
end
$$;
