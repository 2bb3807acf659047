//! `/v1/dlq`: investigations of tasks that do not go on by themselves.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tasker_api::limits::{DEFAULT_PAGE, MAX_PAGE};
use tasker_api::{DeadLetter, DeadLetterList, ListDeadLetters, OpenDeadLetter, PatchDeadLetter, Problem};
use uuid::Uuid;

use super::access::Principal;
use super::error::ApiError;
use super::extract::{InPath, JsonBody, QueryString};
use super::state;
use super::tasks;

/// Lists investigations, newest first.
#[utoipa::path(get, path = "/v1/dlq", params(ListDeadLetters),
    responses((status = 200, body = DeadLetterList), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<ListDeadLetters>,
) -> Result<Json<DeadLetterList>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::malformed(format!("limit must be 1 to {MAX_PAGE}, not {limit}")));
    }
    let namespaces = principal.namespaces_to_list(query.namespace.clone())?;
    let entries = state.engine.list_dead_letters(namespaces.as_deref(), &query, limit).await?;
    let is_full = i64::try_from(entries.len()).is_ok_and(|count| count == limit);
    let next_cursor = entries.last().filter(|_| is_full).map(|entry| entry.dlq_entry_uuid);
    Ok(Json(DeadLetterList { entries, next_cursor }))
}

/// Opens an investigation of a task. A task has one open investigation at most.
#[utoipa::path(post, path = "/v1/dlq", request_body = OpenDeadLetter,
    responses(
        (status = 201, body = DeadLetter, description = "The investigation is open", headers(("Location" = String))),
        (status = 200, body = DeadLetter, description = "An investigation of this task was open already"),
        (status = 404, body = Problem)))]
pub(super) async fn open(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    JsonBody(request): JsonBody<OpenDeadLetter>,
) -> Result<Response, ApiError> {
    request.check()?;
    let task_id = request.task_uuid;
    tasks::require_visible(&state, &principal, task_id).await?;
    let opened = state.engine.open_dead_letter(task_id, request.resolution_notes.as_deref()).await?;
    let Some((entry_id, is_new)) = opened else { return Err(tasks::no_such_task(task_id)) };
    state.writability.written();
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let entry = find(&state, &principal, entry_id).await?;
    Ok((status, [(header::LOCATION, format!("/v1/dlq/{entry_id}"))], Json(entry)).into_response())
}

/// Shows an investigation.
#[utoipa::path(get, path = "/v1/dlq/{dlq_entry_uuid}", params(("dlq_entry_uuid" = Uuid, Path)),
    responses((status = 200, body = DeadLetter), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(entry_id): InPath<Uuid>,
) -> Result<Json<DeadLetter>, ApiError> {
    Ok(Json(find(&state, &principal, entry_id).await?))
}

/// Records what was found out, and closes or reopens an investigation. The task does not change: retry or resolve its
/// steps.
#[utoipa::path(patch, path = "/v1/dlq/{dlq_entry_uuid}", params(("dlq_entry_uuid" = Uuid, Path)),
    request_body = PatchDeadLetter,
    responses(
        (status = 200, body = DeadLetter), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Another investigation of the task is open")))]
pub(super) async fn patch(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(entry_id): InPath<Uuid>,
    JsonBody(change): JsonBody<PatchDeadLetter>,
) -> Result<Json<DeadLetter>, ApiError> {
    change.check()?;
    find(&state, &principal, entry_id).await?;
    let actor = principal.actor(change.resolved_by.as_deref());
    if !state.engine.patch_dead_letter(entry_id, &change, actor.as_deref()).await? {
        return Err(ApiError::conflict(
            "investigation-open",
            "Another investigation of the task is open",
            "a task has one open investigation at most; GET /v1/dlq?task_uuid=... lists them",
        ));
    }
    state.writability.written();
    Ok(Json(find(&state, &principal, entry_id).await?))
}

/// The investigation, unless its task belongs to a namespace that the caller may not use.
async fn find(state: &state::State, principal: &Principal, entry_id: Uuid) -> Result<DeadLetter, ApiError> {
    let entry = state.engine.get_dead_letter(entry_id).await?;
    entry.filter(|entry| principal.covers(&entry.namespace)).ok_or_else(|| {
        ApiError::not_found("investigation", format!("there is no investigation {entry_id}; GET /v1/dlq lists them"))
    })
}
