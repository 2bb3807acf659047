//! `/v1/bulk`: actions on all tasks that match a filter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use tasker_api::{BulkJob, BulkJobList, BulkPreview, CreateBulkJob, OperatorAction, Problem, TaskConditions};
use tasker_engine::{NewBulkJob, StoredBulkJob};
use uuid::Uuid;

use super::access::Principal;
use super::conditions;
use super::error::ApiError;
use super::extract::{EmptyBody, InPath, JsonBody, OptionalJsonBody};
use super::state;

/// A preview counts up to this number of tasks.
const MAX_COUNTED: i64 = 10_001;
/// A preview reads no more pages after this time. Its count then means "at least".
const TIME: Duration = Duration::from_millis(50);
/// How many tasks one page of a preview has, and looks at.
const PAGE: u32 = 5_000;
/// How many tasks a preview shows.
const EXAMPLES: usize = 5;
/// How many jobs the list has.
const LISTED: u32 = 100;

/// Starts an action on all tasks that match a filter, or counts them.
#[utoipa::path(post, path = "/v1/bulk", request_body = CreateBulkJob,
    responses(
        (status = 202, body = BulkJob, description = "The job is stored", headers(("Location" = String))),
        (status = 200, body = BulkPreview, description = "The tasks of a dry run"),
        (status = 400, body = Problem)))]
pub(super) async fn create(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    JsonBody(request): JsonBody<CreateBulkJob>,
) -> Result<Response, ApiError> {
    let CreateBulkJob { action, filter: wanted, dry_run, actor, reason } = request;
    OperatorAction { actor: actor.clone(), reason: reason.clone() }.check()?;
    if wanted == TaskConditions::default() {
        return Err(ApiError::malformed("the filter needs at least one condition, such as status or namespace"));
    }
    let filter = conditions::filter(&wanted, &principal)?;
    if dry_run {
        return Ok(Json(preview(&state, filter).await?).into_response());
    }
    let id = Uuid::now_v7();
    let actor = principal.actor(actor.as_deref());
    state
        .engine
        .create_bulk_job(&NewBulkJob {
            id,
            action,
            filter: &wanted,
            namespaces: filter.namespaces.as_deref(),
            actor: actor.as_deref(),
            reason: reason.as_deref(),
        })
        .await?;
    state.writability.written();
    state.bulk.wake();
    tracing::info!(principal = principal.name(), job = %id, action = action.as_str(), "created a bulk job");
    let job = find(&state, &principal, id).await?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, format!("/v1/bulk/{id}"))], Json(job)).into_response())
}

async fn preview(state: &state::State, mut filter: tasker_engine::TaskFilter) -> Result<BulkPreview, ApiError> {
    let mut preview = BulkPreview { matched: 0, complete: false, examples: Vec::new() };
    let begun = Instant::now();
    loop {
        let page = state.engine.find_tasks(&filter, PAGE).await?;
        if preview.examples.len() < EXAMPLES {
            let missing = EXAMPLES - preview.examples.len();
            let shown: Vec<Uuid> = page.tasks.iter().copied().take(missing).collect();
            preview.examples.extend(state.engine.get_task_summaries(&shown).await?);
        }
        preview.matched += i64::try_from(page.tasks.len()).unwrap_or(i64::MAX);
        filter.before = page.next;
        if page.next.is_none() {
            preview.complete = true;
            break;
        }
        if preview.matched >= MAX_COUNTED || begun.elapsed() >= TIME {
            break;
        }
    }
    Ok(preview)
}

/// Lists the newest jobs.
#[utoipa::path(get, path = "/v1/bulk", responses((status = 200, body = BulkJobList)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Result<Json<BulkJobList>, ApiError> {
    let jobs = state.engine.list_bulk_jobs(true, LISTED).await?.into_iter();
    Ok(Json(BulkJobList { jobs: jobs.filter(|job| is_visible(job, &principal)).map(|job| job.job).collect() }))
}

#[derive(Deserialize)]
pub(super) struct JobInPath {
    id: Uuid,
}

/// Shows a job.
#[utoipa::path(get, path = "/v1/bulk/{id}", params(("id" = Uuid, Path)),
    responses((status = 200, body = BulkJob), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(JobInPath { id }): InPath<JobInPath>,
) -> Result<Json<BulkJob>, ApiError> {
    find(&state, &principal, id).await.map(Json)
}

/// Stops a job. What it has done stays.
#[utoipa::path(post, path = "/v1/bulk/{id}/stop", params(("id" = Uuid, Path)), request_body = EmptyBody,
    responses(
        (status = 200, body = BulkJob), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The job has ended")))]
pub(super) async fn stop(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(JobInPath { id }): InPath<JobInPath>,
    OptionalJsonBody(EmptyBody {}): OptionalJsonBody<EmptyBody>,
) -> Result<Json<BulkJob>, ApiError> {
    find(&state, &principal, id).await?;
    if !state.engine.end_bulk_job(id, None).await? {
        return Err(ApiError::conflict(
            "wrong-state",
            "The current state does not allow this",
            format!("bulk job {id} has already ended"),
        ));
    }
    find(&state, &principal, id).await.map(Json)
}

/// Returns a job that the caller may see.
async fn find(state: &state::State, principal: &Principal, id: Uuid) -> Result<BulkJob, ApiError> {
    let job = state.engine.get_bulk_job(id).await?.filter(|job| is_visible(job, principal));
    job.map(|job| job.job).ok_or_else(|| ApiError::not_found("bulk-job", format!("there is no bulk job {id}")))
}

/// Whether all namespaces of the job are the caller's.
pub(super) fn is_visible(job: &StoredBulkJob, principal: &Principal) -> bool {
    match &job.namespaces {
        None => !principal.is_restricted(),
        Some(namespaces) => namespaces.iter().all(|namespace| principal.covers(namespace)),
    }
}
