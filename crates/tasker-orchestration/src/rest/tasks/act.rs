//! What operators do to tasks and their steps.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use tasker_api::{OperatorAction, Problem, ResolveStep, TaskSummary};
use tasker_engine::{Operation, OperationOutcome};
use uuid::Uuid;

use super::{StepInPath, no_such_step, no_such_task, require_visible, summary};
use crate::rest::access::Principal;
use crate::rest::error::ApiError;
use crate::rest::extract::{InPath, JsonBody, OptionalJsonBody, TaskId};
use crate::rest::state;

/// Cancels a task. None of its steps starts any more.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/cancel", params(("task_uuid" = Uuid, Path)),
    request_body = Option<OperatorAction>,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The task has ended")))]
pub(in crate::rest) async fn cancel(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    OptionalJsonBody(action): OptionalJsonBody<OperatorAction>,
) -> Result<Json<TaskSummary>, ApiError> {
    operate(&state, &principal, task_id, &Operation::Cancel, action).await
}

/// Marks a task that is blocked by failures as failed.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/fail", params(("task_uuid" = Uuid, Path)),
    request_body = Option<OperatorAction>,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The task is not blocked")))]
pub(in crate::rest) async fn fail(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    OptionalJsonBody(action): OptionalJsonBody<OperatorAction>,
) -> Result<Json<TaskSummary>, ApiError> {
    operate(&state, &principal, task_id, &Operation::Fail, action).await
}

/// Runs all failed steps of a task again, with all their attempts.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/retry", params(("task_uuid" = Uuid, Path)),
    request_body = Option<OperatorAction>,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "No step has failed, or the task has ended")))]
pub(in crate::rest) async fn retry(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    OptionalJsonBody(action): OptionalJsonBody<OperatorAction>,
) -> Result<Json<TaskSummary>, ApiError> {
    operate(&state, &principal, task_id, &Operation::Retry { step: None }, action).await
}

/// Runs a failed step again, with all its attempts.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/steps/{name}/retry",
    params(("task_uuid" = Uuid, Path), ("name" = String, Path)), request_body = Option<OperatorAction>,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The step has not failed, or the task has ended")))]
pub(in crate::rest) async fn retry_step(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    InPath(step): InPath<StepInPath>,
    OptionalJsonBody(action): OptionalJsonBody<OperatorAction>,
) -> Result<Json<TaskSummary>, ApiError> {
    operate(&state, &principal, task_id, &Operation::Retry { step: Some(step.name) }, action).await
}

/// Sets the result of a step by hand. The steps that depend on it continue.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/steps/{name}/resolve",
    params(("task_uuid" = Uuid, Path), ("name" = String, Path)), request_body = ResolveStep,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The step has a result, or the task has ended")))]
pub(in crate::rest) async fn resolve_step(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    InPath(step): InPath<StepInPath>,
    JsonBody(body): JsonBody<ResolveStep>,
) -> Result<Json<TaskSummary>, ApiError> {
    body.check()?;
    let ResolveStep { result, actor, reason } = body;
    operate(
        &state,
        &principal,
        task_id,
        &Operation::Resolve { step: step.name, result },
        OperatorAction { actor, reason },
    )
    .await
}

async fn operate(
    state: &state::State,
    principal: &Principal,
    task_id: Uuid,
    operation: &Operation,
    action: OperatorAction,
) -> Result<Json<TaskSummary>, ApiError> {
    action.check()?;
    require_visible(state, principal, task_id).await?;
    let OperatorAction { actor, reason } = action;
    let actor = principal.actor(actor.as_deref());
    let outcome = state.engine.operate(task_id, operation, actor.as_deref(), reason.as_deref()).await?;
    match outcome {
        OperationOutcome::Done => {
            state.writability.written();
            Ok(Json(summary(state, task_id).await?))
        }
        OperationOutcome::NotFound => Err(no_such_task(task_id)),
        OperationOutcome::NoStep => Err(no_such_step(task_id)),
        OperationOutcome::WrongState(found) => Err(ApiError::conflict(
            "wrong-state",
            "The current state does not allow this",
            match operation {
                Operation::Cancel => format!("the task is {found}: it has already ended"),
                Operation::Fail => {
                    format!("the task is {found}: only a task that is blocked_by_failures can be failed")
                }
                Operation::Retry { step: None } => {
                    format!("the task is {found}: only a task that has failed steps and has not ended can be retried")
                }
                Operation::Retry { step: Some(step) } => {
                    format!(
                        "step {step} is {found}: only a failed step of a task that has not ended can be retried, and no \
                         child whose group has failure_strategy continue_on_failure"
                    )
                }
                Operation::Resolve { step, .. } => format!(
                    "step {step} is {found}: only a step without a result in a task that has not ended can be resolved, \
                     and no failed child whose group has failure_strategy continue_on_failure"
                ),
            },
        )),
    }
}
