//! Measures and logs every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::error::DatabaseError;
use super::{bodies, state};
use crate::services::metrics::RequestLabels;

pub(super) async fn observe(State(state): State<Arc<state::State>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let memory = bodies::keep(&mut request);
    let response = next.run(request).await;
    drop(memory);
    let took = begun.elapsed();
    let status = response.status().as_u16();
    tracing::debug!(%method, path, status, ms = took.as_secs_f64() * 1e3, "request");
    match response.extensions().get() {
        Some(DatabaseError::NotWritable(message)) => state.writability.refused(message),
        Some(DatabaseError::Unavailable(message)) => state.outage.failed(message),
        // Every route below /v1 asks the database.
        None if response.status().is_success() && path.starts_with("/v1/") => state.outage.succeeded(),
        None => {}
    }
    state.metrics.request(&RequestLabels::new(&method, route.as_ref().map(MatchedPath::as_str), status), took);
    response
}
