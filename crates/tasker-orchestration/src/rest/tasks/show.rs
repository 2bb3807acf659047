//! A task, its steps and its history.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use tasker_api::{ListOfTask, Problem, StepList, TaskDetail, TransitionList};
use utoipa::IntoParams;

use super::wait::{Wait, get_at_rest, get_now};
use super::{no_such_task, require_visible, summary_visible_to};
use crate::rest::access::Principal;
use crate::rest::conditions::{cursor, optional_page_size};
use crate::rest::error::ApiError;
use crate::rest::extract::{QueryString, TaskId};
use crate::rest::{last_of_page, state};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::rest) struct GetTask {
    /// Wait until the task is at rest, but no longer than this, such as `30s` or `500ms`. The server shortens long
    /// waits: by default to one minute.
    wait: Option<String>,
    /// Whether the steps come with their results. They do by default.
    results: Option<bool>,
}

/// Shows a task with its steps, either at once or when it is at rest.
#[utoipa::path(get, path = "/v1/tasks/{task_uuid}", params(("task_uuid" = Uuid, Path), GetTask),
    responses((status = 200, body = TaskDetail), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(in crate::rest) async fn get(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    QueryString(query): QueryString<GetTask>,
) -> Result<Json<Arc<TaskDetail>>, ApiError> {
    // Before the wait: how long it takes would tell whether the task exists.
    require_visible(&state, &principal, task_id).await?;
    let results = query.results.unwrap_or(true);
    let task = match (Wait { wait: query.wait }.duration(&state)?, results) {
        (Some(wait), true) => get_at_rest(&state, task_id, wait).await?,
        (Some(wait), false) => {
            get_at_rest(&state, task_id, wait).await?;
            get_now(&state, task_id, false).await?
        }
        (None, _) => get_now(&state, task_id, results).await?,
    };
    Ok(Json(task))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::rest) struct WithResults {
    /// Whether the steps come with their results. They do by default.
    results: Option<bool>,
}

/// Shows the steps of a task.
#[utoipa::path(get, path = "/v1/tasks/{task_uuid}/steps", params(("task_uuid" = Uuid, Path), WithResults),
    responses((status = 200, body = StepList), (status = 404, body = Problem)))]
pub(in crate::rest) async fn steps(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    QueryString(query): QueryString<WithResults>,
) -> Result<Json<StepList>, ApiError> {
    require_visible(&state, &principal, task_id).await?;
    let steps = state
        .engine
        .list_steps(task_id, query.results.unwrap_or(true), None)
        .await?
        .ok_or_else(|| no_such_task(task_id))?;
    Ok(Json(StepList { steps }))
}

/// Shows the state changes of a task and its steps.
#[utoipa::path(get, path = "/v1/tasks/{task_uuid}/transitions", params(("task_uuid" = Uuid, Path), ListOfTask),
    responses((status = 200, body = TransitionList), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(in crate::rest) async fn transitions(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    QueryString(query): QueryString<ListOfTask>,
) -> Result<Json<TransitionList>, ApiError> {
    summary_visible_to(&state, &principal, task_id).await?;
    let limit = optional_page_size(query.limit)?;
    let after = cursor(query.cursor.as_deref())?.unwrap_or(0);
    let more = limit.map(|limit| limit.saturating_add(1));
    let mut transitions = state.engine.list_transitions(task_id, query.step.as_deref(), after, more).await?;
    let next_cursor = last_of_page(&mut transitions, limit).map(|last| last.id.to_string());
    Ok(Json(TransitionList { transitions, next_cursor }))
}
