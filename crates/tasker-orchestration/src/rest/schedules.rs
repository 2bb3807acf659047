//! `/v1/schedules`

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::Value;
use tasker_api::limits::stored_bytes;
use tasker_api::{CreateTask, Problem, PutSchedule, Schedule, ScheduleList, TaskSummary};
use tasker_engine::{Cron, CronError, PutOutcome};

use super::access::Principal;
use super::error::ApiError;
use super::extract::{EmptyBody, InPath, JsonBody, OptionalJsonBody, QueryString};
use super::state;
use super::tasks;
use super::workers::OfNamespace;

/// Stores a schedule, or replaces it.
#[utoipa::path(put, path = "/v1/schedules/{name}",
    params(("name" = String, Path, pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$")), request_body = PutSchedule,
    responses(
        (status = 201, body = Schedule, description = "The schedule is new", headers(("Location" = String))),
        (status = 200, body = Schedule, description = "The schedule existed and was replaced"),
        (status = 400, body = Problem), (status = 404, body = Problem, description = "No such template"),
        (status = 409, body = Problem, description = "A schedule of another namespace has this name"),
        (status = 413, body = Problem),
        (status = 422, body = Problem,
         description = "The cron expression or the time zone is wrong, or the context does not match the input_schema")))]
pub(super) async fn put(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(name): InPath<String>,
    JsonBody(schedule): JsonBody<PutSchedule>,
) -> Result<Response, ApiError> {
    schedule.check(&name)?;
    principal.require_namespace(&schedule.namespace)?;
    let context = Value::Object(schedule.context.clone());
    let (bytes, limit) = (stored_bytes(&context), state.settings.max_body_bytes);
    if bytes > limit {
        return Err(ApiError::too_large(format!("the context has {bytes} bytes of JSON; the limit is {limit}")));
    }
    let cron = Cron::parse(&schedule.cron, &schedule.timezone).map_err(|error| wrong_cron(&error))?;
    let next_at = cron.next_after(state.engine.now().await?).map_err(|error| wrong_cron(&error))?;
    let (namespace, template) = (&schedule.namespace, &schedule.template);
    let template = tasks::create::find_template(&state, namespace, template, schedule.version.as_deref()).await?;
    tasks::create::check_context(&template, &context)?;
    let namespaces = principal.namespaces_to_list(None)?;
    let stored = state.engine.put_schedule(&name, &schedule, next_at, namespaces.as_deref()).await?;
    state.writability.written();
    tracing::info!(principal = principal.name(), namespace, schedule = name, "stored a schedule");
    Ok(match stored {
        PutOutcome::Created(schedule) => {
            (StatusCode::CREATED, [(header::LOCATION, format!("/v1/schedules/{name}"))], Json(schedule)).into_response()
        }
        PutOutcome::Replaced(schedule) => Json(schedule).into_response(),
        PutOutcome::Taken => {
            return Err(ApiError::conflict(
                "schedule-name-taken",
                "A schedule of another namespace has this name",
                format!("the name '{name}' is used in a namespace that the key or token does not cover; use another"),
            ));
        }
    })
}

fn wrong_cron(error: &CronError) -> ApiError {
    ApiError::invalid("invalid-schedule", "The schedule is invalid", error.to_string(), Vec::new())
}

/// Lists the schedules by name.
#[utoipa::path(get, path = "/v1/schedules", params(OfNamespace), responses((status = 200, body = ScheduleList)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<OfNamespace>,
) -> Result<Json<ScheduleList>, ApiError> {
    let namespaces = principal.namespaces_to_list(query.namespace)?;
    Ok(Json(ScheduleList { schedules: state.engine.list_schedules(namespaces.as_deref()).await? }))
}

/// Shows a schedule, when it is due, and what it did last.
#[utoipa::path(get, path = "/v1/schedules/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Schedule), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(name): InPath<String>,
) -> Result<Json<Schedule>, ApiError> {
    Ok(Json(find(&state, &principal, &name).await?))
}

/// Deletes a schedule. Its tasks are kept.
#[utoipa::path(delete, path = "/v1/schedules/{name}", params(("name" = String, Path)),
    responses((status = 204, description = "The schedule is deleted"), (status = 404, body = Problem)))]
pub(super) async fn delete(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(name): InPath<String>,
) -> Result<StatusCode, ApiError> {
    find(&state, &principal, &name).await?;
    if !state.engine.delete_schedule(&name).await? {
        return Err(not_found(&name));
    }
    state.writability.written();
    tracing::info!(principal = principal.name(), schedule = name, "deleted a schedule");
    Ok(StatusCode::NO_CONTENT)
}

/// Creates a task as the schedule does, now and in addition. The times of the schedule do not change.
#[utoipa::path(post, path = "/v1/schedules/{name}/trigger", params(("name" = String, Path)),
    request_body = EmptyBody,
    responses(
        (status = 201, body = TaskSummary, description = "The task is stored durably", headers(("Location" = String))),
        (status = 404, body = Problem),
        (status = 422, body = Problem, description = "The context does not match the input_schema")))]
pub(super) async fn trigger(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(name): InPath<String>,
    OptionalJsonBody(EmptyBody {}): OptionalJsonBody<EmptyBody>,
) -> Result<Response, ApiError> {
    let schedule = find(&state, &principal, &name).await?;
    let request = CreateTask {
        namespace: schedule.namespace,
        name: schedule.template,
        version: schedule.version,
        context: schedule.context,
        idempotency_key: None,
        priority: Some(schedule.priority),
        tags: schedule.tags,
    };
    tasks::create::create_from(&state, &principal, &request, None, None).await
}

/// The schedule, unless it belongs to a namespace that the caller may not use.
async fn find(state: &state::State, principal: &Principal, name: &str) -> Result<Schedule, ApiError> {
    let schedule = state.engine.get_schedule(name).await?;
    schedule.filter(|schedule| principal.covers(&schedule.namespace)).ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> ApiError {
    ApiError::not_found("schedule", format!("there is no schedule '{name}'; GET /v1/schedules lists them"))
}
