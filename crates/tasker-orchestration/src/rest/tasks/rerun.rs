//! New tasks from old ones: all of it again, or from a step on.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::Value;
use tasker_api::{CreateTask, ForkTask, OperatorAction, Problem, RerunTask, TaskSummary};
use tasker_engine::{OperationOutcome, Rerun};
use uuid::Uuid;

use super::create::{create_from, location};
use super::{no_such_step, no_such_task, require_visible, summary};
use crate::rest::access::Principal;
use crate::rest::error::ApiError;
use crate::rest::extract::{JsonBody, OptionalJsonBody, TaskId};
use crate::rest::state;
use crate::trace::Creation;

/// Creates a new task from the input of another one.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/rerun", params(("task_uuid" = Uuid, Path)),
    request_body = Option<RerunTask>,
    responses(
        (status = 201, body = TaskSummary, description = "The new task is stored durably",
            headers(("Location" = String))),
        (status = 200, body = TaskSummary, description = "The same request was sent before, with the same key"),
        (status = 400, body = Problem), (status = 404, body = Problem, description = "No such task or template"),
        (status = 409, body = Problem, description = "Another request has used the idempotency key"),
        (status = 413, body = Problem),
        (status = 422, body = Problem, description = "The context does not match the input_schema")))]
pub(in crate::rest) async fn rerun(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    OptionalJsonBody(request): OptionalJsonBody<RerunTask>,
) -> Result<Response, ApiError> {
    let RerunTask { context, version, priority, tags, idempotency_key, actor, reason } = request;
    OperatorAction { actor: actor.clone(), reason: reason.clone() }.check()?;
    require_visible(&state, &principal, task_id).await?;
    let task = state.engine.get_task(task_id, false).await?.ok_or_else(|| no_such_task(task_id))?;
    let context = match (context, task.context) {
        (Some(context), _) | (None, Value::Object(context)) => context,
        (None, _) => return Err(ApiError::internal()),
    };
    let request = CreateTask {
        namespace: task.summary.namespace,
        name: task.summary.name,
        version,
        context,
        idempotency_key,
        priority: Some(priority.unwrap_or(task.summary.priority)),
        tags: tags.or(task.summary.tags),
    };
    let actor = principal.actor(actor.as_deref());
    request.check()?;
    let rerun = Rerun { of: task_id, actor, reason };
    create_from(&state, &principal, &request, None, Some(&rerun)).await
}

/// Runs a task again from a step, as a new task. It has the input of the task, and the results of all steps that do not
/// depend on that step. The old task does not change.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/fork", params(("task_uuid" = Uuid, Path)), request_body = ForkTask,
    responses(
        (status = 201, body = TaskSummary, description = "The new task is stored", headers(("Location" = String))),
        (status = 404, body = Problem)))]
pub(in crate::rest) async fn fork(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    JsonBody(body): JsonBody<ForkTask>,
) -> Result<Response, ApiError> {
    let ForkTask { step, actor, reason } = body;
    OperatorAction { actor: actor.clone(), reason: reason.clone() }.check()?;
    require_visible(&state, &principal, task_id).await?;
    let fork_id = Uuid::now_v7();
    let actor = principal.actor(actor.as_deref());
    let task = summary(&state, task_id).await?;
    let creation = Creation::begin(&task.namespace, &task.name, Some(task_id));
    let (actor, traceparent) = (actor.as_deref(), creation.traceparent());
    let forking = state.engine.fork_task(task_id, &step, fork_id, actor, reason.as_deref(), traceparent.as_deref());
    match forking.await? {
        OperationOutcome::Done => state.writability.written(),
        OperationOutcome::NotFound | OperationOutcome::WrongState(_) => return Err(no_such_task(task_id)),
        OperationOutcome::NoStep => return Err(no_such_step(task_id)),
    }
    creation.is_of(fork_id);
    drop(creation);
    let fork = summary(&state, fork_id).await?;
    Ok((StatusCode::CREATED, location(fork_id), Json(fork)).into_response())
}
