//! Traces for OpenTelemetry, sent to an OTLP receiver (http/protobuf).
//!
//! [`start`] switches them on for the process, if the settings or the environment name a receiver. Before that,
//! [`tracer`] returns none, and nothing is measured. No span stays open for the life of a task: [`traceparent`] carries
//! a trace from one process to the next, through the database.

mod exporter;
mod ids;
pub mod traceparent;

use std::sync::OnceLock;

use opentelemetry::global;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::{self, Layer};
use tracing_subscriber::registry::LookupSpan;

pub use self::exporter::StartError;
pub use self::ids::{span_id, with_span_id};
use crate::settings::Telemetry;

static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
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
    let Some(exporter) = exporter::new(&settings.otlp_endpoint)? else { return Ok(()) };
    let builder = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_id_generator(ids::Ids::default())
        .with_resource(resource(service));
    let provider = if std::env::var_os("OTEL_TRACES_SAMPLER").is_some() {
        builder.build()
    } else {
        let ratio = Sampler::TraceIdRatioBased(settings.sampling_ratio);
        builder.with_sampler(Sampler::ParentBased(Box::new(ratio))).build()
    };
    let traces = Traces { tracer: provider.tracer("tasker"), provider };
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

fn resource(service: &'static str) -> Resource {
    let version = KeyValue::new("service.version", tasker_api::VERSION);
    let resource = Resource::builder().with_attribute(version.clone()).build();
    let name = resource.get(&Key::new("service.name")).map(|name| name.to_string()).unwrap_or_default();
    // The SDK's name for a process whose environment has no name for it.
    if name.starts_with("unknown_service") {
        return Resource::builder().with_attribute(version).with_service_name(service).build();
    }
    resource
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
