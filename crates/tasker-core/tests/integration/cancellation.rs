//! Cancelling tasks.

use anyhow::Result;
use serde_json::json;
use tasker_api::{OperatorAction, StepState, TaskState};
use tasker_client::{ClientError, OrchestrationApiClient};

use crate::support::{Stack, complete, eventually, fault_step, fault_template, step, task};

#[tokio::test]
async fn a_cancelled_task_ends_at_once_and_its_running_step_is_notified() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let mut after = fault_step("after", "faults.echo", json!({}));
    after["dependencies"] = json!(["slow"]);
    let steps = json!([fault_step("slow", "faults.sleep", json!({ "ms": 600_000 })), after]);
    let name = fault_template(&api, &steps).await?;
    let id = api.create_task(&task("faults", &name, json!({}))).await?.task_uuid;
    eventually("the step starts", async || {
        let task = api.get_task(id).await?;
        Ok((step(&task, "slow")?.status == StepState::InProgress).then_some(()))
    })
    .await?;

    let reason = OperatorAction { actor: None, reason: Some("changed my mind".to_owned()) };
    assert_eq!(api.cancel_task(id, &reason).await?.status, TaskState::Cancelled);
    let cancelled = api.get_task(id).await?;
    assert!(cancelled.steps.iter().all(|step| step.status == StepState::Cancelled), "{cancelled:#?}");
    assert!(cancelled.summary.completed_at.is_some());
    let again = api.cancel_task(id, &OperatorAction::default()).await;
    assert!(matches!(again, Err(ClientError::Problem(problem)) if problem.status == 409));
    Ok(())
}

#[tokio::test]
async fn a_completed_task_cannot_be_cancelled() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let done = complete(&api, &task("linear_workflow", "mathematical_sequence", json!({ "even_number": 2 }))).await?;
    let refused = api.cancel_task(done.summary.task_uuid, &OperatorAction::default()).await;
    assert!(matches!(refused, Err(ClientError::Problem(problem)) if problem.status == 409));
    assert_eq!(api.get_task(done.summary.task_uuid).await?, done);
    Ok(())
}
