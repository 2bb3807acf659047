//! The list of tasks.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use tasker_api::{ListTasks, Problem, TaskList};
use tasker_engine::TaskFilter;
use uuid::Uuid;

use crate::rest::access::Principal;
use crate::rest::conditions::{self, cursor, page_size};
use crate::rest::error::ApiError;
use crate::rest::extract::QueryString;
use crate::rest::state;

/// Lists tasks, newest first.
#[utoipa::path(get, path = "/v1/tasks", params(ListTasks),
    responses((status = 200, body = TaskList), (status = 400, body = Problem)))]
pub(in crate::rest) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<ListTasks>,
) -> Result<Json<TaskList>, ApiError> {
    let limit = page_size(query.limit)?;
    let before: Option<Uuid> = cursor(query.cursor.as_deref())?;
    let (wanted, text) = conditions::of_list(query);
    let filter = conditions::filter(&wanted, &principal)?;
    let before = match (before, filter.before) {
        (Some(cursor), Some(bound)) => Some(cursor.min(bound)),
        (cursor, bound) => cursor.or(bound),
    };
    let page = state.engine.list_tasks(&TaskFilter { text, before, ..filter }, limit).await?;
    Ok(Json(TaskList { tasks: page.tasks, next_cursor: page.next.map(|next| next.to_string()) }))
}
