//! The spans of the server: requests, the creation of tasks, and tasks at rest.

use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use tasker_engine::{FiredSchedule, TracedTask};
use tasker_runtime::telemetry::{self, traceparent};
use uuid::Uuid;

use crate::services::metrics::known_method;

/// Where a request is in a trace: in a span of its own, if it is sampled, and otherwise where its caller says. None if it
/// is in no trace. Only requests for data have spans, no probes.
pub(crate) fn of_request(method: &Method, path: &str, route: Option<&str>, headers: &HeaderMap) -> Option<Context> {
    let caller = headers.get(traceparent::TRACEPARENT).and_then(|value| traceparent::parse(value.to_str().ok()?));
    let caller = caller.map(|place| Context::new().with_remote_span_context(place));
    let Some((tracer, route)) = telemetry::tracer().zip(route.filter(|route| route.starts_with("/v1/"))) else {
        return caller;
    };
    // A client can send any word as a method, and receivers keep a list of the names of spans.
    let method = known_method(method);
    let name = format!("{} {route}", method.unwrap_or("HTTP"));
    let span = tracer.build_with_context(
        tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes([
            KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("url.scheme", "http"),
        ]),
        caller.as_ref().unwrap_or(&Context::new()),
    );
    if span.is_recording() { Some(Context::new().with_span(span)) } else { caller }
}

/// Ends the span of a request, if it has one.
pub(crate) fn responded(request: &Context, status: StatusCode) {
    let span = request.span();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
        span.set_status(Status::error(""));
    }
    span.end();
}

fn creation(namespace: &str, template: &str) -> SpanBuilder {
    SpanBuilder::from_name(format!("create {template}")).with_kind(SpanKind::Producer).with_attributes([
        KeyValue::new("messaging.system", "tasker"),
        KeyValue::new("messaging.operation.type", "create"),
        KeyValue::new("messaging.operation.name", "create"),
        KeyValue::new("messaging.destination.name", namespace.to_owned()),
        KeyValue::new("tasker.template.name", template.to_owned()),
    ])
}

fn named(task_id: Uuid) -> [KeyValue; 2] {
    ["messaging.message.id", "tasker.task.id"].map(|key| KeyValue::new(key, task_id.to_string()))
}

/// Where the trace of a task of a schedule can begin. None if it is not sampled.
pub(crate) fn beginning() -> Option<String> {
    traceparent::format(&telemetry::beginning()?)
}

/// Records that a schedule has created a task, as the first span of the task's trace.
pub(crate) fn scheduled(fired: &FiredSchedule, task_id: Uuid) {
    let place = fired.traceparent.as_deref().and_then(traceparent::parse);
    let (Some(tracer), Some(place)) = (telemetry::tracer(), place) else { return };
    let builder = creation(&fired.namespace, &fired.template);
    let mut span = telemetry::with_place(&place, || tracer.build_with_context(builder, &Context::new()));
    span.set_attributes(named(task_id));
    span.set_attribute(KeyValue::new("tasker.schedule.name", fired.name.clone()));
}

/// The creation of a task by the current request. Its span ends when this value is dropped.
pub(crate) struct Creation(Context);

impl Creation {
    /// Begins. It has a span if the request has one. `of`: the task that it runs again.
    pub(crate) fn begin(namespace: &str, template: &str, of: Option<Uuid>) -> Self {
        let request = Context::current();
        let Some(tracer) = telemetry::tracer().filter(|_| request.span().is_recording()) else { return Self(request) };
        let mut span = tracer.build_with_context(creation(namespace, template), &request);
        if let Some(of) = of {
            span.set_attribute(KeyValue::new("tasker.task.rerun_of", of.to_string()));
        }
        Self(Context::new().with_span(span))
    }

    /// Where workers continue the trace. None if there is none.
    pub(crate) fn traceparent(&self) -> Option<String> {
        traceparent::format(self.0.span().span_context())
    }

    /// Names the task that was created or found.
    pub(crate) fn is_of(&self, task_id: Uuid) {
        self.0.span().set_attributes(named(task_id));
    }
}

/// Records that a task came to rest, as a span from its creation until then. A server that records it again makes the same
/// span, with the same id.
pub(crate) fn at_rest(task: &TracedTask) {
    let (Some(tracer), Some(created)) = (telemetry::tracer(), traceparent::parse(&task.traceparent)) else { return };
    let id = telemetry::span_id(&[task.task_id.as_bytes(), &task.rested_at.timestamp_micros().to_be_bytes()]);
    let mut attributes = vec![
        KeyValue::new("tasker.task.id", task.task_id.to_string()),
        KeyValue::new("tasker.task.state", task.state.clone()),
        KeyValue::new("tasker.namespace", task.namespace.clone()),
        KeyValue::new("tasker.template.name", task.template.clone()),
        KeyValue::new("tasker.template.version", task.version.clone()),
        KeyValue::new("tasker.task.total_steps", i64::from(task.total_steps)),
        KeyValue::new("tasker.task.completed_steps", i64::from(task.completed_steps)),
        KeyValue::new("tasker.task.failed_steps", i64::from(task.failed_steps)),
    ];
    attributes.extend(task.reason.clone().map(|reason| KeyValue::new("tasker.task.reason", reason)));
    let builder = tracer
        .span_builder(format!("task {}", task.template))
        .with_kind(SpanKind::Internal)
        .with_start_time(task.created_at)
        .with_attributes(attributes);
    let parent = Context::new().with_remote_span_context(created);
    let mut span = telemetry::with_span_id(id, || tracer.build_with_context(builder, &parent));
    if matches!(task.state.as_str(), "failed" | "blocked_by_failures") {
        span.set_status(Status::error(task.state.clone()));
    }
    span.end_with_timestamp(task.rested_at.into());
}
