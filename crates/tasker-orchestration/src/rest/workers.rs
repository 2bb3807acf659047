//! `/v1/workers`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tasker_api::WorkerList;
use utoipa::IntoParams;

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
    QueryString(query): QueryString<OfNamespace>,
) -> Result<Json<WorkerList>, ApiError> {
    Ok(Json(WorkerList { workers: state.engine.list_workers(query.namespace.as_deref()).await? }))
}
