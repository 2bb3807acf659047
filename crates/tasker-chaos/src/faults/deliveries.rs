//! True results that arrive twice, at the same time as others, in another order, or too late.
//!
//! The campaign claims steps as a worker does. Their handlers are so simple that it computes the results itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use serde_json::{Value, json};
use tasker_engine::{ClaimedStep, StepOutcome, StepResult};
use tokio::time::sleep;

use super::lies::{claim, deliver, deliver_in_vain};
use crate::field::Field;
use crate::stack::LEASE;

/// Claims some steps, if there are any.
async fn claim_some(field: &Field, rng: &mut Rng, lease: Duration) -> sqlx::Result<Vec<ClaimedStep>> {
    claim(field, &["faults"], rng.u32(1..8), lease).await
}

fn result(step: &ClaimedStep, outcome: StepOutcome) -> StepResult {
    StepResult { step: step.step_ref(), outcome }
}

/// What the sample worker's handlers of namespace `faults` return, without the delays.
fn true_result(step: &ClaimedStep) -> StepResult {
    let number = |name| step.initialization.get(name).or_else(|| step.context.get(name)).and_then(Value::as_i64);
    let outcome = match step.callable.as_str() {
        "faults.echo" => StepOutcome::Completed(step.context.clone()),
        "faults.sleep" => StepOutcome::Completed(json!({ "slept_ms": number("ms") })),
        "faults.fail_times" if i64::from(step.attempt) > number("failures").unwrap_or_default() => {
            StepOutcome::Completed(json!({ "attempts": step.attempt }))
        }
        "faults.permanent" => StepOutcome::PermanentError(json!({ "kind": "permanent", "message": "as configured" })),
        _ => an_error(),
    };
    result(step, outcome)
}

fn an_error() -> StepOutcome {
    StepOutcome::RetryableError(json!({ "kind": "campaign", "message": "another attempt will succeed" }))
}

/// Each result twice in one batch, and the batch twice more.
pub(super) async fn duplicate(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let claimed = claim_some(field, rng, LEASE).await?;
    let results: Vec<_> = claimed.iter().chain(&claimed).map(true_result).collect();
    deliver(field, &results).await?;
    let again = async || deliver_in_vain(field, "results delivered again", &results).await;
    let (one, other) = tokio::join!(again(), again());
    Ok(one? && other?)
}

/// A result and an error of the same attempt, at the same time.
pub(super) async fn racing(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let claimed = claim_some(field, rng, LEASE).await?;
    let results: Vec<_> = claimed.iter().map(true_result).collect();
    let errors: Vec<_> = claimed.iter().rev().map(|step| result(step, an_error())).collect();
    let (one, other) = tokio::join!(deliver(field, &results), deliver(field, &errors));
    let refused = one? + other?;
    // More are refused if the task was cancelled meanwhile.
    if refused < claimed.len() {
        field.ledger.violation(format!(
            "of {} attempts, only {refused} accepted exactly one outcome: {claimed:?}",
            claimed.len()
        ));
    }
    Ok(!claimed.is_empty())
}

/// The last step first, and for each step an error before its result. Only the error may be accepted.
pub(super) async fn reordered(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let claimed = claim_some(field, rng, LEASE).await?;
    for step in claimed.iter().rev() {
        deliver(field, &[result(step, an_error())]).await?;
        deliver_in_vain(field, "a result after an error of the same attempt", &[true_result(step)]).await?;
    }
    Ok(!claimed.is_empty())
}

/// Results after their leases have expired. They are accepted if no other worker has taken the step.
pub(super) async fn late(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let lease = Duration::from_millis(rng.u64(50..500));
    let claimed = claim_some(field, rng, lease).await?;
    sleep(lease + Duration::from_millis(rng.u64(0..500))).await;
    let results: Vec<_> = claimed.iter().map(true_result).collect();
    deliver(field, &results).await?;
    Ok(!results.is_empty())
}
