//! The handlers of a bridge: each one sends its step to the host and waits for the outcome.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tasker_worker::{HandlerError, HandlerResult, StepContext};
use tokio::sync::{mpsc, oneshot};

use crate::outcome;

/// Something that the host has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Run this step, and return its outcome with [`Bridge::complete`](crate::Bridge::complete).
    Step {
        /// Names the attempt in later calls and events.
        id: u64,
        /// A JSON object with `task_id`, `step`, `namespace`, `template`, `template_version`, `callable`, `key`,
        /// `attempt`, `max_attempts`, `timeout_ms` (the time until the deadline), `input`, `results` (an object with
        /// the results of the dependencies by name), `initialization`, and `traceparent` (the place of the attempt in a
        /// trace, W3C) if the task is in a trace.
        json: String,
    },
    /// The outcome of this step is no longer wanted: its lease is lost, its task is cancelled, its time is over, or
    /// the worker cannot wait any longer. Tell the handler. The step occupies its slot until it is completed.
    Cancelled {
        /// The attempt.
        id: u64,
    },
    /// The worker is stopping. No step follows, but cancellations and log events may.
    Stopping,
    /// The runtime logged something.
    Log {
        /// A JSON object with `level` (`ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`), `target` (the module), `message`
        /// and `fields`.
        json: String,
    },
}

/// A step as JSON.
#[derive(Serialize)]
struct Step<'a> {
    task_id: String,
    step: &'a str,
    namespace: &'a str,
    template: &'a str,
    template_version: &'a str,
    callable: &'a str,
    key: String,
    attempt: i16,
    max_attempts: i16,
    timeout_ms: u64,
    input: &'a Value,
    results: &'a Value,
    initialization: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

/// A step that the host runs.
#[derive(Debug)]
struct Call {
    outcome: oneshot::Sender<HandlerResult>,
    /// Keeps the slot until the host has completed the step.
    _context: StepContext,
}

/// The steps that the host runs.
#[derive(Debug)]
pub(crate) struct Calls {
    running: Mutex<HashMap<u64, Call>>,
    next_id: AtomicU64,
    events: mpsc::UnboundedSender<Event>,
}

impl Calls {
    pub(crate) fn new(events: mpsc::UnboundedSender<Event>) -> Self {
        Self { running: Mutex::default(), next_id: AtomicU64::new(1), events }
    }

    /// Lets the host run a step.
    pub(crate) async fn run(&self, context: StepContext) -> HandlerResult {
        let json = to_json(&context)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, mut outcome) = oneshot::channel();
        self.running.lock().insert(id, Call { outcome: sender, _context: context.clone() });
        let mut cancel = Cancel { calls: self, id, needed: true };
        self.send(Event::Step { id, json });
        tokio::select! {
            biased;
            result = &mut outcome => {
                cancel.needed = false;
                return result.unwrap_or_else(|_| Err(gone()));
            }
            () = context.cancelled() => drop(cancel),
        }
        // The host may still complete the step, within the time that the runtime grants.
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Ends a call. Returns false if there is no such call.
    pub(crate) fn complete(&self, id: u64, outcome: &str) -> bool {
        let Some(call) = self.running.lock().remove(&id) else { return false };
        // Fails if the attempt has ended.
        let _ = call.outcome.send(outcome::read(outcome.as_bytes()));
        true
    }

    pub(crate) fn send(&self, event: Event) {
        // Fails if the bridge was dropped.
        let _ = self.events.send(event);
    }
}

/// Tells the host when an attempt ends without its outcome.
struct Cancel<'a> {
    calls: &'a Calls,
    id: u64,
    needed: bool,
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        if self.needed {
            self.calls.send(Event::Cancelled { id: self.id });
        }
    }
}

fn gone() -> HandlerError {
    HandlerError::retryable("the worker was dropped while the handler ran").with_kind("worker_dropped")
}

fn to_json(context: &StepContext) -> Result<String, HandlerError> {
    let timeout = context.deadline().saturating_duration_since(Instant::now());
    Ok(serde_json::to_string(&Step {
        task_id: context.task_id().to_string(),
        step: context.step_name(),
        namespace: context.namespace(),
        template: context.template_name(),
        template_version: context.template_version(),
        callable: context.callable(),
        key: context.key(),
        attempt: context.attempt(),
        max_attempts: context.max_attempts(),
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        input: context.context(),
        results: context.dependency_results(),
        initialization: context.initialization_value(),
        item: context.item(),
        signal: context.signal(),
        checkpoint: context.checkpoint(),
        traceparent: context.traceparent(),
    })?)
}
