//! Health, figures and facts of the system.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tasker_api::{Health, HealthCheck, HealthStatus, NamespaceList, SystemInfo};

use super::error::ApiError;
use crate::server;

/// How long the database may take to answer a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Lists the namespaces with their queues.
#[utoipa::path(get, path = "/v1/namespaces", responses((status = 200, body = NamespaceList)))]
pub(super) async fn namespaces(State(state): State<Arc<server::State>>) -> Result<Json<NamespaceList>, ApiError> {
    Ok(Json(NamespaceList { namespaces: state.engine.list_namespaces().await? }))
}

/// Says which versions of what are running.
#[utoipa::path(get, path = "/v1/system/info", responses((status = 200, body = SystemInfo)))]
pub(super) async fn info(State(state): State<Arc<server::State>>) -> Result<Json<SystemInfo>, ApiError> {
    let schema_version = tasker_engine::schema_version(state.engine.pool()).await?;
    Ok(Json(SystemInfo {
        version: tasker_api::VERSION.to_owned(),
        schema_version,
        postgresql_version: state.engine.postgresql_version().await?,
        pgmq: state.engine.pgmq_info().await?,
        started_at: state.started_at,
    }))
}

/// Says whether the server can do its work.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn health(State(state): State<Arc<server::State>>) -> Response {
    let check = match tokio::time::timeout(CHECK_TIMEOUT, state.engine.ping()).await {
        Ok(Ok(())) => HealthCheck { status: HealthStatus::Healthy, message: None },
        Ok(Err(error)) => HealthCheck { status: HealthStatus::Unhealthy, message: Some(error.to_string()) },
        Err(_) => HealthCheck {
            status: HealthStatus::Unhealthy,
            message: Some(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
        },
    };
    let code = match check.status {
        HealthStatus::Healthy => StatusCode::OK,
        HealthStatus::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    };
    let health = Health { status: check.status, checks: BTreeMap::from([("database".to_owned(), check)]) };
    (code, Json(health)).into_response()
}

/// Says that the process lives.
#[utoipa::path(get, path = "/health/live", responses((status = 200, body = Health)))]
pub(super) async fn live() -> Json<Health> {
    Json(Health { status: HealthStatus::Healthy, checks: BTreeMap::new() })
}

/// Says whether requests may be sent here.
#[utoipa::path(get, path = "/health/ready", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn ready(state: State<Arc<server::State>>) -> Response {
    health(state).await
}

/// Figures for Prometheus, in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(state): State<Arc<server::State>>) -> Result<Response, ApiError> {
    let text = state.metrics.encode().map_err(|_| ApiError::internal())?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
