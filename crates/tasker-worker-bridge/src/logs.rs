//! Sends the runtime's log to the host, which writes it with its own logger.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::calls::Event;
use crate::error::Error;

/// The most log events that wait for the host. More are dropped, so that a host that does not read them costs no memory.
const MAX_WAITING: usize = 1_000;

/// The number of log events that wait for the host.
pub(crate) type Waiting = Arc<AtomicUsize>;

/// Creates a subscriber that sends events to the host.
pub(crate) fn dispatch(
    filter: &str,
    events: mpsc::UnboundedSender<Event>,
    waiting: Waiting,
) -> Result<Dispatch, Error> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Error::Options(format!("\"{filter}\" is not a log filter: {error}")))?;
    Ok(Dispatch::new(Registry::default().with(filter).with(ToHost { events, waiting })))
}

struct ToHost {
    events: mpsc::UnboundedSender<Event>,
    waiting: Waiting,
}

impl<S: Subscriber> Layer<S> for ToHost {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let json = json!({
            "level": metadata.level().as_str(),
            "target": metadata.target(),
            "message": fields.message,
            "fields": fields.others,
        });
        // Fails if the bridge was dropped.
        let _ = self.events.send(Event::Log { json: json.to_string() });
    }
}

/// The message and the other fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.add(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}
