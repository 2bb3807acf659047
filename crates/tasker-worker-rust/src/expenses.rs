//! An approval with a deadline.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tasker_worker::{HandlerError, HandlerResult, StepContext};

/// The task's input.
#[derive(Deserialize)]
struct Expense {
    employee: String,
    amount_cents: u64,
}

/// The payload of the signal `decision`, and the result of the step `decide`.
#[derive(Serialize, Deserialize)]
struct Decision {
    approved: bool,
    by: Option<String>,
}

/// Reads the signal for which the step waited. Without one in time, the expense is not approved.
pub(crate) async fn decide(step: StepContext) -> HandlerResult {
    let decision = match step.signal() {
        Some(payload) => Decision::deserialize(payload).map_err(|error| {
            HandlerError::permanent(format!("the signal `decision`: {error}")).with_kind("bad_signal")
        })?,
        None => Decision { approved: false, by: None },
    };
    Ok(serde_json::to_value(decision)?)
}

pub(crate) async fn reimburse(step: StepContext) -> HandlerResult {
    let Expense { amount_cents, .. } = step.input()?;
    // The same in every attempt, so that the bank pays once.
    let payment_id = format!("pay_{}", step.task_id().simple());
    Ok(json!({"payment_id": payment_id, "amount_cents": amount_cents}))
}

/// The results do not contain a step that was skipped.
pub(crate) async fn notify(step: StepContext) -> HandlerResult {
    let Expense { employee, amount_cents } = step.input()?;
    let Decision { by, .. } = step.dependency("decide")?;
    let message = match (step.dependency_results().get("reimburse"), by) {
        (Some(_), _) => format!("{amount_cents} cents were paid"),
        (None, Some(by)) => format!("{by} did not approve the expense"),
        (None, None) => "nobody decided in time".to_owned(),
    };
    Ok(json!({"to": employee, "message": message}))
}
