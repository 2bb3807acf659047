//! The steps of an order. A handler may run more than once, so what it does elsewhere needs a key that stays the same.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tasker_core::worker::WorkerBuilder;
use tasker_core::{HandlerError, HandlerResult, StepContext};

const TEMPLATE: &str = include_str!("../templates/order.yaml");

/// Stands in for the catalogue: items and their prices in cents.
const CATALOGUE: [(&str, u64); 2] = [("tea", 450), ("mug", 1_200)];

/// The input of the task.
#[derive(Debug, Deserialize, Serialize)]
pub struct Order {
    pub item: String,
    pub quantity: u32,
}

/// The result of `check_stock`.
#[derive(Debug, Deserialize, Serialize)]
struct Checked {
    total_cents: u64,
}

/// Adds the template and its handlers.
pub fn add_to(worker: WorkerBuilder) -> WorkerBuilder {
    worker
        .template(TEMPLATE)
        .handler("tasker_starter.check_stock", check_stock)
        .handler("tasker_starter.charge", charge)
        .handler("tasker_starter.ship", ship)
}

async fn check_stock(step: StepContext) -> HandlerResult {
    let order: Order = step.input()?;
    let total_cents = total_cents(&order).ok_or_else(|| {
        // Another attempt would not help. Every other error is retried as the template says.
        HandlerError::permanent(format!("there is no item `{}`", order.item))
            .with_kind("unknown_item")
    })?;
    Ok(json!(Checked { total_cents }))
}

async fn charge(step: StepContext) -> HandlerResult {
    let Checked { total_cents } = step.dependency("check_stock")?;
    // Call your payment provider here, with this key: a repeated attempt must not charge twice.
    let payment_id = key(&step);
    Ok(json!({ "payment_id": payment_id, "amount_cents": total_cents }))
}

async fn ship(step: StepContext) -> HandlerResult {
    Ok(json!({ "tracking_number": key(&step) }))
}

/// The same for every attempt of a step.
fn key(step: &StepContext) -> String {
    format!("{}/{}", step.task_id(), step.step_name())
}

/// `None` if the catalogue has no such item.
pub fn total_cents(order: &Order) -> Option<u64> {
    let (_, price) = CATALOGUE.iter().find(|(item, _)| *item == order.item)?;
    Some(price * u64::from(order.quantity))
}
