//! Signals to tasks.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use tasker_api::limits::MAX_NAME_CHARS;
use tasker_api::{Problem, SendSignal, TaskSummary};
use tasker_engine::{NewSignal, SignalOutcome};

use super::access::Principal;
use super::error::ApiError;
use super::extract::{InPath, OptionalJsonBody, TaskId};
use super::state;
use super::tasks::{no_such_task, require_visible, summary};

#[derive(Deserialize)]
pub(super) struct SignalInPath {
    name: String,
}

/// Sends a signal to a task. Steps that wait for it continue with its payload. The first signal of a name is kept, also
/// if no step waits for it yet.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/signals/{name}",
    params(("task_uuid" = Uuid, Path), ("name" = String, Path)), request_body = Option<SendSignal>,
    responses(
        (status = 200, body = TaskSummary, description = "The signal is stored, or was stored before"),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The signal was sent with another payload, or the task has ended")))]
pub(super) async fn send(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    InPath(signal): InPath<SignalInPath>,
    OptionalJsonBody(body): OptionalJsonBody<SendSignal>,
) -> Result<Json<TaskSummary>, ApiError> {
    body.check()?;
    if signal.name.chars().count() > MAX_NAME_CHARS {
        return Err(ApiError::malformed(format!("the name of a signal has at most {MAX_NAME_CHARS} characters")));
    }
    require_visible(&state, &principal, task_id).await?;
    let actor = principal.actor(body.actor.as_deref());
    let sent = NewSignal { task_id, name: signal.name.clone(), payload: body.payload, actor };
    let outcome = state.signals.write(sent).await.map_err(|error| {
        ApiError::not_written(
            error,
            "the database did not confirm the signal; send it again: the same signal twice changes nothing",
        )
    })?;
    match outcome {
        SignalOutcome::Done | SignalOutcome::Repeated => state.writability.written(),
        SignalOutcome::NotFound => return Err(no_such_task(task_id)),
        SignalOutcome::Conflict => {
            return Err(ApiError::conflict(
                "signal-exists",
                "The signal was sent before",
                format!("the task has a signal {} with another payload; the first one stays", signal.name),
            ));
        }
        SignalOutcome::WrongState => {
            return Err(ApiError::conflict(
                "wrong-state",
                "The current state does not allow this",
                "the task has already ended",
            ));
        }
    }
    Ok(Json(summary(&state, task_id).await?))
}
