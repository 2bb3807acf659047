//! A task that runs another task as one of its steps.

use serde::Deserialize;
use serde_json::{Value, json};
use tasker_worker::{HandlerResult, StepContext};

pub(crate) async fn close_month(step: StepContext) -> HandlerResult {
    Ok(json!({"closed": step.context()["month"]}))
}

/// The result of the step `invoice` has the results of the child task's last steps.
pub(crate) async fn confirm(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Child {
        results: Value,
    }
    let Child { results } = step.dependency("invoice")?;
    Ok(json!({"invoice_id": results["send"]["invoice_id"]}))
}

pub(crate) async fn issue(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Account {
        id: String,
        usage_cents: u64,
    }
    let Account { id, usage_cents } = step.input()?;
    Ok(json!({"invoice_id": format!("inv_{id}"), "total_cents": usage_cents}))
}

pub(crate) async fn send(step: StepContext) -> HandlerResult {
    let invoice: Value = step.dependency("issue")?;
    Ok(json!({"invoice_id": invoice["invoice_id"], "sent": true}))
}
