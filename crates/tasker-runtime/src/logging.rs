//! Structured logs of the binaries, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, Logging};
use crate::telemetry;

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
    // This fails if the process already has a logger, which then stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).with(telemetry::layer()).try_init();
    Ok(())
}
