//! Order fulfilment: each step adds its result to the order.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tasker_worker::{HandlerError, HandlerResult, StepContext};
use tracing::Instrument;

/// The task's input.
#[derive(Deserialize)]
struct Input {
    customer: Value,
    items: Vec<Item>,
    payment: Payment,
    shipping: Value,
}

#[derive(Serialize, Deserialize)]
struct Item {
    sku: String,
    quantity: u64,
    unit_price_cents: u64,
}

#[derive(Deserialize)]
struct Payment {
    method: String,
    token: Option<String>,
}

/// An order whose items were checked.
#[derive(Serialize, Deserialize)]
struct Checked {
    items: Vec<Item>,
    item_count: u64,
    total_cents: u64,
}

/// An order whose items are reserved.
#[derive(Serialize, Deserialize)]
struct Reserved {
    #[serde(flatten)]
    order: Checked,
    reservations: Vec<Reservation>,
}

#[derive(Serialize, Deserialize)]
struct Reservation {
    reservation_id: String,
    sku: String,
    quantity: u64,
}

/// An order that is paid.
#[derive(Serialize, Deserialize)]
struct Paid {
    #[serde(flatten)]
    order: Reserved,
    payment_id: String,
}

/// An order that is shipped.
#[derive(Serialize)]
struct Shipped {
    #[serde(flatten)]
    order: Paid,
    tracking_number: String,
    customer: Value,
    shipping: Value,
}

pub(crate) async fn validate_order(step: StepContext) -> HandlerResult {
    let Input { items, .. } = step.input()?;
    to_result(check(items)?)
}

fn check(items: Vec<Item>) -> Result<Checked, HandlerError> {
    let invalid = |message: String| Err(HandlerError::permanent(message).with_kind("invalid_order"));
    if items.is_empty() {
        return invalid("the order has no items".to_owned());
    }
    let mut skus = HashSet::new();
    let (mut item_count, mut total_cents) = (0_u64, 0_u64);
    for Item { sku, quantity, unit_price_cents } in &items {
        if *quantity == 0 {
            return invalid(format!("the quantity of item {sku} is 0"));
        }
        if !skus.insert(sku) {
            return invalid(format!("item {sku} is in the order twice"));
        }
        let sum = quantity.checked_mul(*unit_price_cents).and_then(|price| total_cents.checked_add(price));
        let (Some(total), Some(count)) = (sum, item_count.checked_add(*quantity)) else {
            return invalid(format!("with item {sku}, the order's total is beyond 2^64 cents"));
        };
        (item_count, total_cents) = (count, total);
    }
    Ok(Checked { items, item_count, total_cents })
}

pub(crate) async fn reserve_inventory(step: StepContext) -> HandlerResult {
    let order: Checked = step.dependency("validate_order")?;
    let reservation = |item: &Item| Reservation {
        reservation_id: id(&step, "res", Some(&item.sku)),
        sku: item.sku.clone(),
        quantity: item.quantity,
    };
    let reservations = order.items.iter().map(reservation).collect();
    to_result(Reserved { order, reservations })
}

pub(crate) async fn process_payment(step: StepContext) -> HandlerResult {
    let Input { payment, .. } = step.input()?;
    let order: Reserved = step.dependency("reserve_inventory")?;
    if payment.method == "declined_card" || payment.token.as_deref() == Some("tok_declined") {
        let message = format!("the bank declined to pay {} cents by {}", order.order.total_cents, payment.method);
        return Err(HandlerError::permanent(message).with_kind("payment_declined"));
    }
    // With a span of its own, which is part of the attempt's trace if the task is in one.
    let span = tracing::info_span!("charge", cents = order.order.total_cents);
    let payment_id = charge(&step).instrument(span).await;
    to_result(Paid { order, payment_id })
}

/// Where a real handler calls the bank, with the step's key as idempotency key.
async fn charge(step: &StepContext) -> String {
    id(step, "pay", None)
}

pub(crate) async fn ship_order(step: StepContext) -> HandlerResult {
    let Input { customer, shipping, .. } = step.input()?;
    let order: Paid = step.dependency("process_payment")?;
    to_result(Shipped { order, tracking_number: id(&step, "trk", None), customer, shipping })
}

/// An id that is the same in every attempt.
fn id(step: &StepContext, kind: &str, part: Option<&str>) -> String {
    let task = step.task_id().simple();
    match part {
        Some(part) => format!("{kind}_{task}_{part}"),
        None => format!("{kind}_{task}"),
    }
}

fn to_result(order: impl Serialize) -> HandlerResult {
    Ok(serde_json::to_value(order)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(sku: &str, quantity: u64, unit_price_cents: u64) -> Item {
        Item { sku: sku.to_owned(), quantity, unit_price_cents }
    }

    #[test]
    fn totals_are_added_up() {
        let order = check(vec![item("A", 2, 1250), item("B", 1, 999)]).unwrap_or_else(|error| unreachable!("{error}"));
        assert_eq!((order.item_count, order.total_cents), (3, 3499));
    }

    #[test]
    fn inconsistent_orders_are_refused_for_good() {
        for (items, reason) in [
            (vec![], "the order has no items"),
            (vec![item("A", 0, 1)], "the quantity of item A is 0"),
            (vec![item("A", 1, 1), item("A", 2, 1)], "item A is in the order twice"),
            (vec![item("A", 2, u64::MAX)], "with item A, the order's total is beyond 2^64 cents"),
        ] {
            let error = check(items).err();
            assert_eq!(error, Some(HandlerError::permanent(reason).with_kind("invalid_order")));
        }
    }
}
