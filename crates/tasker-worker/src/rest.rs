//! The status API: health, status and metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tasker_api::{Health, HealthCheck, PROBLEM_CONTENT_TYPE, Problem, WorkerState, WorkerStatus};
use tasker_runtime::http::is_local_name;
use tokio::time::timeout;

use crate::shared::Shared;

/// How long the database may take to respond to a health check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the routes. On loopback, they respond only to names that no web page of another site can have. Elsewhere,
/// the network decides who may read the metrics, and under which name.
pub(crate) fn router(shared: Arc<Shared>, loopback: bool) -> Router {
    let router = Router::new()
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/v1/worker/status", get(status))
        .route("/metrics", get(metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared);
    if loopback { router.layer(middleware::from_fn(only_local_names)) } else { router }
}

/// Refuses requests for other hosts: with DNS rebinding, a web site lets its own name point to this machine.
async fn only_local_names(request: Request, next: Next) -> Response {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let host = request.uri().authority().cloned().or(header);
    match host {
        Some(host) if is_local_name(host.host()) => next.run(request).await,
        // A client of HTTP/1.0, which no browser is.
        None if !request.headers().contains_key(header::HOST) => next.run(request).await,
        _ => problem(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong-host",
            "The worker does not know this host name",
            "on loopback, the worker responds only to localhost and IP addresses".to_owned(),
        ),
    }
}

/// Whether the worker can do its work.
async fn health(State(shared): State<Arc<Shared>>) -> Response {
    respond([("database", database(&shared).await)])
}

/// Whether the process is alive.
async fn live() -> Response {
    respond([])
}

/// Whether the worker claims steps.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let worker = match shared.state() {
        WorkerState::Running => HealthCheck::healthy(),
        state @ (WorkerState::Draining | WorkerState::Stopped | WorkerState::Lost) => {
            HealthCheck::unhealthy(format!("the worker is {}", state.as_str()))
        }
    };
    respond([("database", database(&shared).await), ("worker", worker)])
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<WorkerStatus> {
    Json(WorkerStatus {
        worker_id: shared.worker_id.clone(),
        namespaces: shared.namespaces.clone(),
        status: shared.state(),
        handlers: shared.handlers.names().map(str::to_owned).collect(),
        max_concurrent: i32::try_from(shared.settings.max_concurrent).unwrap_or(i32::MAX),
        running_steps: u64::try_from(shared.running.len()).unwrap_or(u64::MAX),
        completed_steps: shared.metrics.completed(),
        failed_steps: shared.metrics.failed(),
        version: tasker_api::VERSION.to_owned(),
        started_at: shared.started_at,
    })
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], shared.metrics.text(shared.running.len())).into_response()
}

async fn no_such_path(uri: Uri) -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "no-such-path",
        "Path not found",
        format!(
            "a worker has no path {}; \
             its paths are /health, /health/live, /health/ready, /v1/worker/status and /metrics",
            uri.path()
        ),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "Method not allowed",
        format!("{} accepts GET, not {method}", uri.path()),
    )
}

fn problem(status: StatusCode, kind: &str, title: &str, detail: String) -> Response {
    let problem = Problem {
        kind: format!("/problems/{kind}"),
        title: title.to_owned(),
        status: status.as_u16(),
        detail,
        errors: Vec::new(),
    };
    (status, [(header::CONTENT_TYPE, PROBLEM_CONTENT_TYPE)], Json(problem)).into_response()
}

/// The response to all requests but health checks while every connection is in use.
pub(crate) fn too_many_connections() -> Response {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The service is temporarily unavailable",
        "all connections to the status API are in use; try again".to_owned(),
    )
}

async fn database(shared: &Shared) -> HealthCheck {
    match timeout(CHECK_TIMEOUT, shared.engine.is_read_only()).await {
        Ok(Ok(false)) => HealthCheck::healthy(),
        Ok(Ok(true)) => HealthCheck::unhealthy("the database is read-only"),
        Ok(Err(error)) => HealthCheck::unhealthy(error.to_string()),
        Err(_) => HealthCheck::unhealthy(format!("no response within {} s", CHECK_TIMEOUT.as_secs())),
    }
}

/// Responds with 200 if every check is healthy, otherwise with 503.
fn respond<const N: usize>(checks: [(&str, HealthCheck); N]) -> Response {
    let health = Health::of(checks);
    let status = StatusCode::from_u16(health.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(health)).into_response()
}
