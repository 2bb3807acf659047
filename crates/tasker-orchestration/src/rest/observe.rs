//! Measures and logs every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::error::NotWritable;
use super::state;
use crate::services::metrics::RequestLabels;

pub(super) async fn observe(State(state): State<Arc<state::State>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let took = begun.elapsed();
    let status = response.status().as_u16();
    tracing::debug!(%method, path, status, ms = took.as_secs_f64() * 1e3, "request");
    if let Some(NotWritable(message)) = response.extensions().get() {
        state.writability.refused(message);
    }
    state.metrics.request(&RequestLabels::new(&method, route.as_ref().map(MatchedPath::as_str), status), took);
    response
}
