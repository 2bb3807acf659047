//! Operators' actions on blocked tasks.

use anyhow::{Context, Result};
use serde_json::json;
use tasker_api::{OperatorAction, ResolveStep, StepState, TaskDetail, TaskState};
use tasker_client::{ClientError, OrchestrationApiClient};

use crate::support::{DEADLINE, Stack, fault_step, fault_template, run, step, task};

/// A task that is blocked by the first of its two steps.
async fn blocked(api: &impl OrchestrationApiClient, failures: u32) -> Result<TaskDetail> {
    let mut after = fault_step("after", "faults.echo", json!({}));
    after["dependencies"] = json!(["before"]);
    let mut before = fault_step("before", "faults.fail_times", json!({ "failures": failures }));
    before["retry"]["limit"] = json!(1);
    let name = fault_template(api, &json!([before, after])).await?;
    let task = run(api, &task("faults", &name, json!({ "n": 1 }))).await?;
    assert_eq!(task.summary.status, TaskState::BlockedByFailures);
    Ok(task)
}

fn because(reason: &str) -> OperatorAction {
    OperatorAction { actor: Some("an operator".to_owned()), reason: Some(reason.to_owned()) }
}

#[tokio::test]
async fn a_resolved_step_lets_the_task_complete() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let id = blocked(&api, 99).await?.summary.task_uuid;
    let resolution = ResolveStep {
        result: json!({ "by": "hand" }),
        actor: Some("an operator".to_owned()),
        reason: Some("the bank confirmed it".to_owned()),
    };
    api.resolve_step(id, "before", &resolution).await?;
    let done = api.wait_for_task(id, DEADLINE).await?;
    assert_eq!(done.summary.status, TaskState::Completed);
    assert_eq!(done.summary.failed_steps, 0);
    let before = step(&done, "before")?;
    assert_eq!((before.status, &before.result), (StepState::ResolvedManually, &Some(json!({ "by": "hand" }))));

    let history = api.list_transitions(id).await?.transitions;
    let resolved = history.iter().find(|t| t.to == "resolved_manually").context("not in the history")?;
    assert_eq!(resolved.actor.as_deref(), Some("an operator"));
    assert_eq!(resolved.reason.as_deref(), Some("the bank confirmed it"));
    Ok(())
}

#[tokio::test]
async fn retried_steps_get_all_their_attempts_again() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let id = blocked(&api, 99).await?.summary.task_uuid;
    api.retry_task(id, &because("the bank is up again")).await?;
    let again = api.wait_for_task(id, DEADLINE).await?;
    assert_eq!(again.summary.status, TaskState::BlockedByFailures);
    api.retry_step(id, "before", &because("once more")).await?;
    api.wait_for_task(id, DEADLINE).await?;
    let history = api.list_transitions(id).await?.transitions;
    let failures = history.iter().filter(|t| t.step.as_deref() == Some("before") && t.to == "failed").count();
    assert_eq!(failures, 3, "{history:#?}");
    Ok(())
}

#[tokio::test]
async fn a_blocked_task_can_be_failed() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let id = blocked(&api, 99).await?.summary.task_uuid;
    let failed = api.fail_task(id, &because("nobody needs it")).await?;
    assert_eq!(failed.status, TaskState::Failed);
    for refused in [
        api.retry_task(id, &OperatorAction::default()).await,
        api.retry_step(id, "before", &OperatorAction::default()).await,
        api.cancel_task(id, &OperatorAction::default()).await,
    ] {
        assert!(matches!(refused, Err(ClientError::Problem(problem)) if problem.status == 409));
    }
    Ok(())
}

#[tokio::test]
async fn missing_steps_and_missing_tasks_are_different_errors() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let id = blocked(&api, 99).await?.summary.task_uuid;
    let kind = |result: Result<_, ClientError>| match result {
        Err(ClientError::Problem(problem)) => problem.kind,
        other => format!("{other:?}"),
    };
    let nothing = OperatorAction::default();
    assert_eq!(kind(api.retry_step(id, "nope", &nothing).await), "/problems/step-not-found");
    assert_eq!(kind(api.retry_step(id, "after", &nothing).await), "/problems/wrong-state");
    assert_eq!(kind(api.retry_task(uuid::Uuid::now_v7(), &nothing).await), "/problems/task-not-found");
    Ok(())
}
