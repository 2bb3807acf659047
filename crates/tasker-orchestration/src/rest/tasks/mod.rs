//! `/v1/tasks`, with one file for each kind of request.

pub(super) mod act;
pub(super) mod create;
pub(super) mod list;
pub(super) mod rerun;
pub(super) mod show;
mod values;
mod wait;

use serde::Deserialize;
use tasker_api::TaskSummary;
use uuid::Uuid;

use super::access::Principal;
use super::error::ApiError;
use super::state;

#[derive(Deserialize)]
pub(super) struct StepInPath {
    pub(super) name: String,
}

pub(super) async fn summary(state: &state::State, task_id: Uuid) -> Result<TaskSummary, ApiError> {
    state.engine.get_task_summary(task_id).await?.ok_or_else(|| no_such_task(task_id))
}

/// Refuses a task of a namespace that the principal may not use, as if there were no such task.
pub(super) async fn require_visible(
    state: &state::State,
    principal: &Principal,
    task_id: Uuid,
) -> Result<(), ApiError> {
    if principal.is_restricted() && !principal.covers(&summary(state, task_id).await?.namespace) {
        return Err(no_such_task(task_id));
    }
    Ok(())
}

/// Returns a task that the principal may see.
pub(super) async fn summary_visible_to(
    state: &state::State,
    principal: &Principal,
    task_id: Uuid,
) -> Result<TaskSummary, ApiError> {
    let summary = summary(state, task_id).await?;
    if principal.covers(&summary.namespace) { Ok(summary) } else { Err(no_such_task(task_id)) }
}

pub(super) fn no_such_step(task_id: Uuid) -> ApiError {
    ApiError::not_found(
        "step",
        format!("task {task_id} has no step of this name; GET /v1/tasks/{task_id}/steps lists them"),
    )
}

pub(super) fn no_such_task(task_id: Uuid) -> ApiError {
    ApiError::not_found("task", format!("there is no task {task_id}"))
}
