//! A decision, its branches, and the step that joins them.

use serde::Deserialize;
use serde_json::json;
use tasker_worker::{HandlerResult, StepContext};

/// The task's input.
#[derive(Deserialize)]
struct Order {
    total_cents: u64,
}

/// Chooses the branches. The other ones are skipped.
pub(crate) async fn route(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Settings {
        review_from_cents: u64,
    }
    let Order { total_cents } = step.input()?;
    let Settings { review_from_cents } = step.initialization()?;
    let branches: &[&str] =
        if total_cents < review_from_cents { &["approve_by_rule"] } else { &["review", "check_credit"] };
    Ok(json!({"decision_point_outcome": {"type": "create_steps", "step_names": branches}}))
}

pub(crate) async fn approve_by_rule(_: StepContext) -> HandlerResult {
    Ok(json!({"approved_by": "rule"}))
}

pub(crate) async fn review(_: StepContext) -> HandlerResult {
    Ok(json!({"approved_by": "reviewer"}))
}

pub(crate) async fn check_credit(step: StepContext) -> HandlerResult {
    let Order { total_cents } = step.input()?;
    Ok(json!({"credit_cents": total_cents}))
}

/// Receives the results of the branches that ran.
pub(crate) async fn dispatch(step: StepContext) -> HandlerResult {
    let results = step.dependency_results().as_object();
    let mut branches: Vec<_> = results.into_iter().flatten().map(|(name, _)| name).collect();
    branches.sort();
    Ok(json!({"dispatched_after": branches}))
}
