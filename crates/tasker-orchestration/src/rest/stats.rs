//! `/v1/stats`

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use tasker_api::Stats;

use super::access::Principal;
use super::error::ApiError;
use super::extract::QueryString;
use super::state;
use super::workers::OfNamespace;

/// Shows counts of tasks, the queues, the workers together, and missing handlers.
#[utoipa::path(get, path = "/v1/stats", params(OfNamespace), responses((status = 200, body = Stats)))]
pub(super) async fn stats(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<OfNamespace>,
) -> Result<Json<Stats>, ApiError> {
    let namespaces = principal.namespaces_to_list(query.namespace)?;
    Ok(Json(state.stats.get().await?.of(namespaces.as_deref())))
}
