//! Structured logs of the binaries, on standard error.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt, LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::{self, Filter, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, Logging};
use crate::telemetry;

/// How long a line of OpenTelemetry is not repeated.
const QUIET: Duration = Duration::from_secs(60);

/// Starts logging as the settings say. Call it once, at the start of `main`. A second call changes nothing.
///
/// # Errors
/// When the filter is not valid. The message says where it came from.
pub fn init(settings: &Logging) -> Result<(), String> {
    let (source, directives) = match std::env::var("RUST_LOG") {
        Ok(value) if !value.is_empty() => ("RUST_LOG", value),
        _ => ("logging.filter", settings.filter.clone()),
    };
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| format!("{source} = \"{directives}\" is not a log filter: {error}"))?;
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let filter = filter.and(not_repeated());
    // This fails if the process already has a logger, which then stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).with(telemetry::layer()).try_init();
    if let Some(receiver) = telemetry::receiver() {
        tracing::info!(receiver, "traces are sent");
    }
    Ok(())
}

/// Lets each kind of line of OpenTelemetry through once in [`QUIET`]. The SDK writes two for each batch of spans that
/// it cannot send, which can be many in a second.
fn not_repeated<S: Subscriber>() -> impl Filter<S> {
    let is_limited = |metadata: &Metadata<'_>| metadata.is_event() && metadata.target().starts_with("opentelemetry");
    let last: Mutex<HashMap<Identifier, Instant>> = Mutex::default();
    let pass = move |metadata: &Metadata<'_>, _: &layer::Context<'_, S>| {
        if !is_limited(metadata) {
            return true;
        }
        let (mut last, now) = (last.lock(), Instant::now());
        let quiet = last.get(&metadata.callsite()).is_some_and(|last| now.duration_since(*last) < QUIET);
        if !quiet {
            last.insert(metadata.callsite(), now);
        }
        !quiet
    };
    // Other lines are decided once, and this filter adds no level.
    dynamic_filter_fn(pass)
        .with_callsite_filter(
            move |metadata| {
                if is_limited(metadata) { Interest::sometimes() } else { Interest::always() }
            },
        )
        .with_max_level_hint(LevelFilter::TRACE)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Keeps the targets of the lines that it receives.
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
            self.0.lock().push(event.metadata().target().to_owned());
        }
    }

    #[test]
    fn lines_of_opentelemetry_are_not_repeated() {
        let lines = Arc::default();
        let filter = EnvFilter::new("info").and(not_repeated());
        assert_eq!(Filter::<tracing_subscriber::Registry>::max_level_hint(&filter), Some(LevelFilter::INFO));
        let subscriber = tracing_subscriber::registry().with(Lines(Arc::clone(&lines)).with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 {
                tracing::error!(target: "opentelemetry_sdk", "a batch was not sent");
                tracing::warn!(target: "opentelemetry-otlp", "the receiver does not respond");
                tracing::debug!(target: "opentelemetry_sdk", "not wanted");
                tracing::info!(target: "tasker", "another line");
            }
        });
        assert_eq!(*lines.lock(), ["opentelemetry_sdk", "opentelemetry-otlp", "tasker", "tasker", "tasker"]);
    }
}
