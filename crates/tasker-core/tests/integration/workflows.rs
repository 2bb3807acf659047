//! The five sample workflows, with their exact results.

use anyhow::{Context, Result};
use num_bigint::BigUint;
use serde_json::{Value, json};
use tasker_api::StepState;

use crate::support::{Stack, complete, step, task};

/// The number in a result: a JSON number, or a decimal string beyond 2^53.
fn number(result: Option<&Value>) -> Result<BigUint> {
    let value = result.and_then(|result| result.get("value")).context("the result has no value")?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse().with_context(|| format!("{text} is not a whole number"))
}

async fn power(namespace: &str, name: &str, last_step: &str, steps: usize, exponent: u32) -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    for n in [2_u32, 6, 1_000_000] {
        let done = complete(&api, &task(namespace, name, json!({ "even_number": n }))).await?;
        assert_eq!(done.steps.len(), steps);
        assert!(done.steps.iter().all(|step| step.status == StepState::Completed && step.attempts == 1));
        assert_eq!(done.summary.completion_percentage, 100);
        assert_eq!(number(step(&done, last_step)?.result.as_ref())?, BigUint::from(n).pow(exponent));
    }
    Ok(())
}

#[tokio::test]
async fn linear() -> Result<()> {
    power("linear_workflow", "mathematical_sequence", "linear_step_4", 4, 16).await
}

#[tokio::test]
async fn diamond() -> Result<()> {
    power("diamond_workflow", "diamond_pattern", "diamond_end", 4, 16).await
}

#[tokio::test]
async fn tree() -> Result<()> {
    power("tree_workflow", "hierarchical_tree", "tree_final_convergence", 8, 64).await
}

#[tokio::test]
async fn mixed_dag() -> Result<()> {
    power("mixed_dag_workflow", "complex_dag", "dag_finalize", 7, 64).await
}

#[tokio::test]
async fn order() -> Result<()> {
    let stack = Stack::start().await?;
    let context = json!({
        "customer": { "id": "c-1", "email": "a@example.org" },
        "items": [
            { "sku": "A", "quantity": 2, "unit_price_cents": 1250 },
            { "sku": "B", "quantity": 1, "unit_price_cents": 999 },
        ],
        "payment": { "method": "card", "token": "tok_1" },
        "shipping": {
            "address": { "street": "Main Street 1", "city": "Springfield", "postal_code": "12345", "country": "US" },
        },
    });
    let done = complete(&stack.api()?, &task("order_fulfillment", "business_workflow", context)).await?;
    let shipped = step(&done, "ship_order")?.result.clone().context("no result")?;
    let text = shipped.to_string();
    assert!(text.contains("3499"), "{text} does not contain the total");
    assert!(
        text.contains("tracking_number") && text.contains("payment_id") && text.contains("reservation_id"),
        "{text}"
    );
    Ok(())
}
