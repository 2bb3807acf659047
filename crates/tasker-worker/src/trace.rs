//! The span of an attempt: a child of the task's creation, linked to the attempt before.

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use serde_json::Value;
use tasker_engine::{ClaimedStep, StepOutcome};
use tasker_runtime::telemetry::{self, traceparent};

/// Starts the span of an attempt, if its task is part of a sampled trace. Returns a context with the span, which is the
/// parent of the handler's spans. The step then names the span as its place in the trace.
pub(crate) fn start(step: &mut ClaimedStep, worker_id: &str) -> Option<Context> {
    let tracer = telemetry::tracer()?;
    let created = step.traceparent.as_deref().and_then(traceparent::parse).filter(SpanContext::is_sampled)?;
    let before = (step.attempt > 1.max(first_attempt(step))).then(|| {
        let id = span_id(step, step.attempt - 1);
        SpanContext::new(created.trace_id(), id, created.trace_flags(), true, created.trace_state().clone())
    });
    let mut attributes = vec![
        KeyValue::new("messaging.system", "tasker"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.operation.name", "process"),
        KeyValue::new("messaging.destination.name", step.namespace.clone()),
        KeyValue::new("messaging.message.id", format!("{}/{}", step.task_id, step.step_name)),
        KeyValue::new("messaging.client.id", worker_id.to_owned()),
        KeyValue::new("tasker.task.id", step.task_id.to_string()),
        KeyValue::new("tasker.template.name", step.template_name.clone()),
        KeyValue::new("tasker.template.version", step.template_version.clone()),
        KeyValue::new("tasker.step.name", step.step_name.clone()),
        KeyValue::new("tasker.step.attempt", i64::from(step.attempt)),
        KeyValue::new("tasker.step.max_attempts", i64::from(step.max_attempts)),
    ];
    attributes.extend(step.waited_seconds.map(|seconds| KeyValue::new("tasker.step.waited_seconds", seconds)));
    let builder = tracer
        .span_builder(format!("process {}", step.callable))
        .with_kind(SpanKind::Consumer)
        .with_links(before.into_iter().map(|before| Link::new(before, Vec::new(), 0)).collect())
        .with_attributes(attributes);
    let parent = Context::new().with_remote_span_context(created);
    let span = telemetry::with_span_id(span_id(step, step.attempt), || tracer.build_with_context(builder, &parent));
    let context = Context::new().with_span(span);
    step.traceparent = traceparent::format(context.span().span_context());
    Some(context)
}

/// Ends the span. Without an outcome, the attempt has lost its lease, or its task has ended.
pub(crate) fn end(attempt: &Context, outcome: Option<&StepOutcome>) {
    let (name, error) = match outcome {
        Some(StepOutcome::Completed(_)) => ("completed", None),
        Some(StepOutcome::RetryableError(error)) => ("retryable_error", Some(error)),
        Some(StepOutcome::PermanentError(error)) => ("permanent_error", Some(error)),
        Some(StepOutcome::Released) => ("released", None),
        Some(StepOutcome::Waiting(_)) => ("waiting", None),
        None => ("lost", None),
    };
    let span = attempt.span();
    span.set_attribute(KeyValue::new("tasker.step.outcome", name));
    if let Some(error) = error {
        let text = |field| error.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        span.set_attribute(KeyValue::new("error.type", text("kind")));
        span.set_status(Status::error(text("message")));
    }
    span.end();
}

/// The id of the span of an attempt, which the worker of the next attempt derives too. The part tells apart attempts of the
/// same number, of which the earlier ones waited or were released. The message is another one after an operator's retry.
fn span_id(step: &ClaimedStep, attempt: i16) -> SpanId {
    let part = part(step).map(Value::to_string).unwrap_or_default();
    telemetry::span_id(&[
        step.task_id.as_bytes(),
        &step.step_no.to_be_bytes(),
        &step.msg_id.to_be_bytes(),
        &attempt.to_be_bytes(),
        part.as_bytes(),
    ])
}

/// The number of the first attempt of this part of the step.
fn first_attempt(step: &ClaimedStep) -> i16 {
    let first = part(step).and_then(|part| part.get("attempt")?.as_i64()).and_then(|first| first.try_into().ok());
    first.unwrap_or(1)
}

/// The engine counts how often a step began again with the same number of attempts.
fn part(step: &ClaimedStep) -> Option<&Value> {
    step.input.as_ref()?.get("part")
}
