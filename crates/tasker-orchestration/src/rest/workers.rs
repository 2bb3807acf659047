//! `/v1/workers`

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use tasker_api::{ListWorkers, WorkerList, WorkerSummary};
use utoipa::IntoParams;

use super::access::Principal;
use super::conditions::optional_page_size;
use super::error::ApiError;
use super::extract::QueryString;
use super::state;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfNamespace {
    /// Only entries of this namespace.
    pub(super) namespace: Option<String>,
}

/// Lists the workers that have sent a heartbeat.
#[utoipa::path(get, path = "/v1/workers", params(ListWorkers), responses((status = 200, body = WorkerList)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<ListWorkers>,
) -> Result<Json<WorkerList>, ApiError> {
    if let Some(namespace) = &query.namespace {
        principal.require_namespace(namespace)?;
    }
    let limit = optional_page_size(query.limit)?;
    let more = limit.map(|limit| limit.saturating_add(1));
    let mut workers = state.engine.list_workers(query.namespace.as_deref(), query.cursor.as_deref(), more).await?;
    let next_cursor = super::last_of_page(&mut workers, limit).map(|last| last.worker_id.clone());
    Ok(Json(WorkerList { workers: visible(workers, &principal), next_cursor }))
}

/// The workers that serve a namespace of the caller, without other namespaces. Handlers and counts belong to all
/// namespaces of a worker, so they are left out if one of them is another's.
pub(super) fn visible(mut workers: Vec<WorkerSummary>, principal: &Principal) -> Vec<WorkerSummary> {
    if principal.is_restricted() {
        for worker in &mut workers {
            let served = worker.namespaces.len();
            worker.namespaces.retain(|namespace| principal.covers(namespace));
            if worker.namespaces.len() < served {
                worker.handlers = None;
                worker.running_steps = None;
                (worker.completed_steps, worker.failed_steps) = (None, None);
                (worker.completed_per_second, worker.failed_per_second) = (None, None);
            }
        }
        workers.retain(|worker| !worker.namespaces.is_empty());
    }
    workers
}
