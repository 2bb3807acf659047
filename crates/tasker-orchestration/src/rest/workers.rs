//! `/v1/workers`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tasker_api::WorkerList;
use utoipa::IntoParams;

use super::error::ApiError;
use super::extract::QueryString;
use crate::server;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfNamespace {
    /// Only those of this namespace.
    pub(super) namespace: Option<String>,
}

/// Lists the workers of which a heartbeat is known.
#[utoipa::path(get, path = "/v1/workers", params(OfNamespace), responses((status = 200, body = WorkerList)))]
pub(super) async fn list(
    State(state): State<Arc<server::State>>,
    QueryString(query): QueryString<OfNamespace>,
) -> Result<Json<WorkerList>, ApiError> {
    Ok(Json(WorkerList { workers: state.engine.list_workers(query.namespace.as_deref()).await? }))
}
