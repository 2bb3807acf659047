//! `/v1/gates`

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use tasker_api::{Gate, GateDetail, GateList, PatchGate, Problem};
use tasker_engine::GateOutcome;

use super::access::Principal;
use super::error::ApiError;
use super::extract::{InPath, JsonBody, QueryString};
use super::state;
use super::workers::OfNamespace;
use crate::services::stats::COUNT_LIMIT;

/// How many steps that hold a slot are shown.
const HOLDERS: u32 = 100;

#[derive(Deserialize)]
pub(super) struct GateInPath {
    namespace: String,
    name: String,
}

/// Lists the gates of templates, their limits, and how many steps hold slots or wait.
#[utoipa::path(get, path = "/v1/gates", params(OfNamespace), responses((status = 200, body = GateList)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<OfNamespace>,
) -> Result<Json<GateList>, ApiError> {
    let namespaces = principal.namespaces_to_list(query.namespace)?;
    Ok(Json(GateList { gates: state.engine.list_gates(namespaces.as_deref(), None, COUNT_LIMIT).await? }))
}

/// Shows a gate, and steps that hold slots.
#[utoipa::path(get, path = "/v1/gates/{namespace}/{name}",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = GateDetail), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(path): InPath<GateInPath>,
) -> Result<Json<GateDetail>, ApiError> {
    principal.require_namespace(&path.namespace)?;
    Ok(Json(detail(&state, &path).await?))
}

/// Sets limits that replace those of templates, or removes them. Steps that wait get slots that are free now.
#[utoipa::path(patch, path = "/v1/gates/{namespace}/{name}",
    params(("namespace" = String, Path), ("name" = String, Path)), request_body = PatchGate,
    responses((status = 200, body = GateDetail), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn patch(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath(path): InPath<GateInPath>,
    JsonBody(change): JsonBody<PatchGate>,
) -> Result<Json<GateDetail>, ApiError> {
    change.check()?;
    principal.require_namespace(&path.namespace)?;
    match state.engine.change_gate(&path.namespace, &path.name, &change).await? {
        GateOutcome::Done => {}
        GateOutcome::NotFound => return Err(not_found(&path)),
        GateOutcome::NoRate => {
            return Err(ApiError::malformed(format!(
                "gate '{}' has no rate, so rate.limit and rate.per_seconds are required",
                path.name
            )));
        }
        GateOutcome::Burst => {
            return Err(ApiError::malformed(format!(
                "rate.burst is above the limit of the rate of gate '{}'; send a lower one, or a higher rate.limit too",
                path.name
            )));
        }
    }
    state.writability.written();
    tracing::info!(
        principal = principal.name(),
        namespace = path.namespace,
        gate = path.name,
        ?change,
        "changed a gate"
    );
    Ok(Json(detail(&state, &path).await?))
}

async fn detail(state: &state::State, path: &GateInPath) -> Result<GateDetail, ApiError> {
    let GateInPath { namespace, name } = path;
    let namespaces = [namespace.clone()];
    let mut gates: Vec<Gate> = state.engine.list_gates(Some(&namespaces), Some(name), COUNT_LIMIT).await?;
    let gate = gates.pop().ok_or_else(|| not_found(path))?;
    Ok(GateDetail { gate, holders: state.engine.gate_holders(namespace, name, HOLDERS).await? })
}

fn not_found(path: &GateInPath) -> ApiError {
    let GateInPath { namespace, name } = path;
    ApiError::not_found(
        "gate",
        format!(
            "namespace '{namespace}' has no gate '{name}'; a template creates it with `concurrency` or `rate`, and \
             GET /v1/gates lists all"
        ),
    )
}
