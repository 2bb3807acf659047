//! Measures and logs every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::server;
use crate::services::metrics::RequestLabels;

pub(super) async fn observe(State(state): State<Arc<server::State>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().as_str().to_owned();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let took = begun.elapsed();
    let status = response.status().as_u16();
    tracing::debug!(%method, path, status, ms = took.as_secs_f64() * 1e3, "request");
    state.metrics.request(&RequestLabels { method, route, status }, took);
    response
}
