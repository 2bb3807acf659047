//! Payments behind gates. The gates are in the template, so the handlers know nothing of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tasker_worker::{HandlerResult, StepContext};

/// The task's input.
#[derive(Deserialize)]
struct Payment {
    account_id: String,
    amount_cents: u64,
}

#[derive(Serialize, Deserialize)]
struct Charge {
    charge_id: String,
    amount_cents: u64,
}

/// Where a real handler calls the bank, with the step's key as idempotency key.
pub(crate) async fn charge(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Settings {
        bank_ms: u64,
    }
    let Payment { amount_cents, .. } = step.input()?;
    let Settings { bank_ms } = step.initialization()?;
    tokio::time::sleep(Duration::from_millis(bank_ms)).await;
    let charge_id = format!("chg_{}", step.task_id().simple());
    Ok(serde_json::to_value(Charge { charge_id, amount_cents })?)
}

pub(crate) async fn receipt(step: StepContext) -> HandlerResult {
    let Payment { account_id, .. } = step.input()?;
    let Charge { charge_id, amount_cents } = step.dependency("charge")?;
    Ok(serde_json::json!({"account_id": account_id, "charge_id": charge_id, "amount_cents": amount_cents}))
}
