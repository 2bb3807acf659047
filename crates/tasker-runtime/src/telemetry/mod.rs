//! Traces for OpenTelemetry, sent to an OTLP receiver (http/protobuf).
//!
//! [`start`] switches them on for the process, if the settings or the environment name a receiver. Before that,
//! [`tracer`] returns none, and nothing is measured. No span stays open for the life of a task: [`traceparent`] carries
//! a trace from one process to the next, through the database.

mod environment;
mod exporter;
mod ids;
pub mod traceparent;

use std::sync::OnceLock;

use opentelemetry::global;
use opentelemetry::trace::{Span, SpanBuilder, SpanContext, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::{self, Layer};
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

pub use self::exporter::StartError;
pub use self::ids::{span_id, with_place, with_span_id};
use crate::settings::Telemetry;

static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Samples as `tracer` does. Its spans are sent nowhere.
    sampler: SdkTracer,
    receiver: String,
}

/// Starts to send traces, if the settings or the variables of OpenTelemetry name a receiver. Call it before
/// [`logging::init`](crate::logging::init): the spans of handlers are then part of the traces. A second call changes
/// nothing.
///
/// `service` names the process in traces, unless `OTEL_SERVICE_NAME` does. The variables of batches, limits, headers
/// and samplers are those of OpenTelemetry's SDK.
///
/// # Errors
/// When the receiver's address cannot be used.
pub fn start(settings: &Telemetry, service: &'static str) -> Result<(), StartError> {
    if TRACES.get().is_some() {
        return Ok(());
    }
    if environment::switches_traces_off(environment::variable) {
        return Ok(());
    }
    let Some((exporter, receiver)) = exporter::new(&settings.otlp_endpoint)? else { return Ok(()) };
    let builder = || {
        let builder = SdkTracerProvider::builder();
        if environment::variable("OTEL_TRACES_SAMPLER").is_some() {
            return builder;
        }
        let ratio = Sampler::TraceIdRatioBased(settings.sampling_ratio);
        builder.with_sampler(Sampler::ParentBased(Box::new(ratio)))
    };
    let provider = builder()
        .with_batch_exporter(exporter)
        .with_id_generator(ids::Ids::default())
        .with_resource(resource(service))
        .build();
    let sampler = builder().build().tracer("tasker");
    let traces = Traces { tracer: provider.tracer("tasker"), sampler, provider, receiver };
    // For handlers that use OpenTelemetry themselves.
    global::set_tracer_provider(traces.provider.clone());
    let _ = TRACES.set(traces);
    Ok(())
}

/// Sends the spans that have ended, within five seconds. Call it at the end of `main`.
pub async fn flush() {
    if let Some(traces) = TRACES.get()
        && let Ok(Err(error)) = tokio::task::spawn_blocking(|| traces.provider.force_flush()).await
    {
        tracing::warn!(%error, "the last spans could not be sent");
    }
}

/// Makes the spans of Tasker. None if traces are off.
pub fn tracer() -> Option<&'static SdkTracer> {
    TRACES.get().map(|traces| &traces.tracer)
}

/// A place where a trace can begin, if it is sampled: its first span can then be made after what it is about, by
/// [`with_place`]. None if it is not sampled, or if traces are off.
pub fn beginning() -> Option<SpanContext> {
    let span = TRACES.get()?.sampler.build_with_context(SpanBuilder::default(), &Context::new());
    Some(span.span_context().clone()).filter(SpanContext::is_sampled)
}

/// Where traces are sent, for the log. None if traces are off.
pub(crate) fn receiver() -> Option<&'static str> {
    TRACES.get().map(|traces| traces.receiver.as_str())
}

/// What the process is, in traces. The environment is stronger.
fn resource(service: &'static str) -> Resource {
    let of_environment = Resource::builder().build();
    let known = |key: &Key| {
        let value = of_environment.get(key).map(|value| value.to_string()).unwrap_or_default();
        // The SDK's name for a process whose environment has no name for it.
        !value.is_empty() && !value.starts_with("unknown_service")
    };
    let ours = [
        KeyValue::new("service.name", service),
        KeyValue::new("service.version", tasker_api::VERSION),
        // Tells apart the processes of a service.
        KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
    ];
    Resource::builder().with_attributes(ours.into_iter().filter(|attribute| !known(&attribute.key))).build()
}

/// A layer of the process's log subscriber that makes spans of `tracing` spans, so that those of a handler are part of
/// its attempt's trace. It takes only spans inside a sampled span of OpenTelemetry: Tasker's own cost nothing.
pub(crate) fn layer<S>() -> Option<impl Layer<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = dynamic_filter_fn(|metadata: &Metadata<'_>, _: &layer::Context<'_, S>| {
        *metadata.level() <= LevelFilter::INFO
            && Context::map_current(|context| context.span().span_context().is_sampled())
    })
    .with_max_level_hint(LevelFilter::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(tracer()?.clone());
    Some(layer.with_filter(filter))
}
