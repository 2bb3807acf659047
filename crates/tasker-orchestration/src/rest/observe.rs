//! Measures and logs every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::trace::{FutureExt, TraceContextExt};
use tracing::Instrument;

use super::error::DatabaseError;
use super::{bodies, state};
use crate::services::metrics::RequestLabels;
use crate::trace;

pub(super) async fn observe(State(state): State<Arc<state::State>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let memory = bodies::keep(&mut request);
    let traced = trace::of_request(&method, &path, route.as_ref().map(MatchedPath::as_str), request.headers());
    let response = match &traced {
        None => next.run(request).await,
        Some(traced) => {
            let trace_id = traced.span().span_context().trace_id();
            let span = tracing::info_span!("request", %trace_id);
            let response = next.run(request).with_context(traced.clone()).instrument(span).await;
            trace::responded(traced, response.status());
            response
        }
    };
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
