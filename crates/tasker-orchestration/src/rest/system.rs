//! Health, metrics and versions of the system.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tasker_api::{Health, HealthCheck, SystemInfo, Whoami};

use super::access::Principal;
use super::error::ApiError;
use super::state;

/// How long the database may take to respond to a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Shows whose key or token the request carries, and what it allows. Any valid key or token may ask.
#[utoipa::path(get, path = "/v1/whoami", responses((status = 200, body = Whoami)))]
pub(super) async fn whoami(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Json<Whoami> {
    Json(Whoami {
        name: principal.name().map(str::to_owned),
        scopes: principal.scopes().iter().map(|scope| scope.as_str().to_owned()).collect(),
        namespaces: principal.namespaces().map(<[String]>::to_vec),
        keys: !state.access.is_open(),
    })
}

/// Shows the versions of Tasker, its schema, PostgreSQL and PGMQ.
#[utoipa::path(get, path = "/v1/system/info", responses((status = 200, body = SystemInfo)))]
pub(super) async fn info(State(state): State<Arc<state::State>>) -> Result<Json<SystemInfo>, ApiError> {
    let schema_version = tasker_engine::schema_version(state.engine.pool()).await?;
    Ok(Json(SystemInfo {
        version: tasker_api::VERSION.to_owned(),
        schema_version,
        postgresql_version: state.engine.postgresql_version().await?,
        pgmq: state.engine.pgmq_info().await?,
        started_at: state.started_at,
    }))
}

/// Reports whether the server can work: PostgreSQL responds and can be written.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn health(State(state): State<Arc<state::State>>) -> Response {
    let check = match tokio::time::timeout(CHECK_TIMEOUT, state.engine.is_read_only()).await {
        Ok(Ok(read_only)) => {
            state.writability.checked(read_only);
            state.outage.succeeded();
            state.writability.refusal().map_or_else(HealthCheck::healthy, HealthCheck::unhealthy)
        }
        Ok(Err(error)) => HealthCheck::unhealthy(error.to_string()),
        Err(_) => HealthCheck::unhealthy(format!("no response within {} s", CHECK_TIMEOUT.as_secs())),
    };
    let health = Health::of([("database", check)]);
    let status = StatusCode::from_u16(health.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(health)).into_response()
}

/// Reports that the process runs.
#[utoipa::path(get, path = "/health/live", responses((status = 200, body = Health)))]
pub(super) async fn live() -> Json<Health> {
    Json(Health::of([]))
}

/// Reports whether the server can handle requests. The same as `/health`.
#[utoipa::path(get, path = "/health/ready", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn ready(state: State<Arc<state::State>>) -> Response {
    health(state).await
}

/// Metrics for Prometheus, in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
) -> Result<Response, ApiError> {
    principal.require_every_namespace("metrics")?;
    state.metrics.show(state.stats.get().await.ok().as_deref());
    let text = state.metrics.encode().map_err(|_| ApiError::internal())?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
