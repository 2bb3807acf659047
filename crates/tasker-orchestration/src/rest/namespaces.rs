//! `/v1/namespaces`

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use tasker_api::{DomainEventList, ListDomainEvents, NamespaceList, NamespaceSummary, PatchNamespace, Problem};

use super::access::Principal;
use super::conditions::page_size;
use super::error::ApiError;
use super::extract::{InPath, JsonBody, QueryString};
use super::state;

/// Lists the namespaces, their queues and their settings.
#[utoipa::path(get, path = "/v1/namespaces", responses((status = 200, body = NamespaceList)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Result<Json<NamespaceList>, ApiError> {
    let mut namespaces = state.engine.list_namespaces().await?;
    namespaces.retain(|namespace| principal.covers(&namespace.namespace));
    Ok(Json(NamespaceList { namespaces }))
}

/// Pauses or resumes a namespace, or sets how long its finished tasks are kept.
#[utoipa::path(patch, path = "/v1/namespaces/{namespace}", params(("namespace" = String, Path)),
    request_body = PatchNamespace,
    responses(
        (status = 200, body = NamespaceSummary), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn patch(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(namespace): InPath<String>,
    JsonBody(change): JsonBody<PatchNamespace>,
) -> Result<Json<NamespaceSummary>, ApiError> {
    change.check()?;
    principal.require_namespace(&namespace)?;
    if !state.engine.set_namespace(&namespace, &change).await? {
        return Err(not_found(&namespace));
    }
    state.writability.written();
    tracing::info!(principal = principal.name(), namespace, ?change, "changed a namespace");
    state.engine.get_namespace(&namespace).await?.map(Json).ok_or_else(|| not_found(&namespace))
}

/// Lists domain events that are in the queue of a namespace. They stay there, and programs that read the queue do not
/// notice.
#[utoipa::path(get, path = "/v1/namespaces/{namespace}/events",
    params(("namespace" = String, Path), ListDomainEvents),
    responses(
        (status = 200, body = DomainEventList), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn events(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(namespace): InPath<String>,
    QueryString(query): QueryString<ListDomainEvents>,
) -> Result<Json<DomainEventList>, ApiError> {
    principal.require_namespace(&namespace)?;
    let events = state.engine.list_events(&namespace, query.after, page_size(query.limit)?).await?;
    if events.is_empty() && state.engine.get_namespace(&namespace).await?.is_none() {
        return Err(not_found(&namespace));
    }
    Ok(Json(DomainEventList { events }))
}

fn not_found(namespace: &str) -> ApiError {
    let detail = format!("there is no namespace '{namespace}'; the first template of a namespace creates it");
    ApiError::not_found("namespace", detail)
}
