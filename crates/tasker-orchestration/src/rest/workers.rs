//! `/v1/workers`

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use tasker_api::WorkerList;
use utoipa::IntoParams;

use super::access::Principal;
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
#[utoipa::path(get, path = "/v1/workers", params(OfNamespace), responses((status = 200, body = WorkerList)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<OfNamespace>,
) -> Result<Json<WorkerList>, ApiError> {
    if let Some(namespace) = &query.namespace {
        principal.require_namespace(namespace)?;
    }
    let mut workers = state.engine.list_workers(query.namespace.as_deref()).await?;
    if principal.is_restricted() {
        for worker in &mut workers {
            worker.namespaces.retain(|namespace| principal.covers(namespace));
        }
        workers.retain(|worker| !worker.namespaces.is_empty());
    }
    Ok(Json(WorkerList { workers }))
}
