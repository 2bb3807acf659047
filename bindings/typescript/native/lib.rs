//! The worker runtime for Node. Each function is one call of the bridge.
//!
//! Nothing here calls JavaScript: `next` is a promise of the next events, so no callback is stored.

use std::sync::Arc;

use napi::bindgen_prelude::{Either, create_custom_tokio_runtime, spawn_blocking};
use napi::{Error, Result};
use napi_derive::napi;
use serde_json::json;
use tasker_worker::HandlerError;
use tasker_worker_bridge::{Bridge, Event, Options, check};

/// Gives the promises a single thread. They only pass on what the threads of the bridge have done.
#[napi_derive::module_init]
fn init() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("tasker-node").build();
    // Without it, napi starts a runtime of its own, with a thread for each processor.
    if let Ok(runtime) = runtime {
        create_custom_tokio_runtime(runtime);
    }
}

/// A running worker whose handlers are in JavaScript. Use `Worker` instead.
#[napi]
pub struct NativeWorker(Arc<Bridge>);

impl Drop for NativeWorker {
    /// A thread of `node:worker_threads` can end without a stop. Then nobody takes events, and the promise that waits for
    /// them must not keep the worker alive.
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

/// Something that the host has to know.
#[napi(object, object_from_js = false)]
pub struct NativeEvent {
    /// `step`, `cancelled`, `stopping` or `log`.
    #[napi(ts_type = "'step' | 'cancelled' | 'stopping' | 'log'")]
    pub kind: &'static str,
    /// The attempt, of `step` and `cancelled`.
    pub id: i64,
    /// A JSON object, of `step` and `log`.
    pub json: String,
}

/// Why a worker cannot start.
#[napi(object, object_from_js = false)]
pub struct StartFailure {
    /// What is wrong and what to do.
    pub message: String,
    /// The exit code for a program that stops with this error.
    pub exit_code: u32,
}

/// Starts a worker with these options, a JSON object.
#[napi]
pub async fn start(options: String) -> Result<Either<NativeWorker, StartFailure>> {
    let started = spawn_blocking(move || Bridge::start(Options::from_json(&options)?)).await.map_err(to_js)?;
    Ok(match started {
        Ok(bridge) => Either::A(NativeWorker(Arc::new(bridge))),
        Err(error) => Either::B(StartFailure { message: error.to_string(), exit_code: u32::from(error.exit_code()) }),
    })
}

/// Asks the worker on this machine that was started with these options whether it is healthy. Returns what is wrong, or
/// null.
#[napi]
pub async fn check_health(options: String) -> Result<Option<String>> {
    let check = move || tasker_worker_bridge::check_health(&Options::from_json(&options)?);
    let checked = spawn_blocking(check).await.map_err(to_js)?;
    Ok(checked.err().map(|error| error.to_string()))
}

#[napi]
impl NativeWorker {
    /// The name under which the worker is registered.
    #[napi(getter)]
    pub fn worker_id(&self) -> &str {
        self.0.worker_id()
    }

    /// The URL of the status API, without a path.
    #[napi(getter)]
    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// Waits for events, and returns up to `max` of them. Returns null at the end.
    #[napi]
    pub async fn next(&self, max: u32) -> Result<Option<Vec<NativeEvent>>> {
        let bridge = Arc::clone(&self.0);
        let events = bridge.next_async(usize::try_from(max).unwrap_or(usize::MAX)).await.map_err(to_js)?;
        Ok(events.map(|events| events.into_iter().map(to_event).collect()))
    }

    /// Returns the outcome of a step, a JSON object. Returns false if there is no such step.
    #[napi]
    pub fn complete(&self, id: i64, outcome: String) -> Result<bool> {
        let id = u64::try_from(id).map_err(to_js)?;
        self.0.complete(id, &outcome).map_err(to_js)
    }

    /// Stops the worker gracefully.
    #[napi]
    pub async fn stop(&self) -> Result<()> {
        let bridge = Arc::clone(&self.0);
        bridge.stop_async().await.map_err(to_js)
    }
}

/// Checks an outcome as a worker would. Returns the outcome that would be recorded.
#[napi]
pub fn check_outcome(outcome: String) -> String {
    let recorded = match check(&outcome) {
        Ok(result) => json!({"result": result}),
        Err(HandlerError::Permanent { kind, message }) => {
            json!({"error": {"kind": kind, "message": message, "permanent": true}})
        }
        Err(HandlerError::Retryable { kind, message, retry_after }) => {
            let delay = retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            json!({"error": {"kind": kind, "message": message, "retry_after_ms": delay}})
        }
        Err(waiting @ HandlerError::Waiting(_)) => {
            json!({"error": {"kind": "waiting", "message": waiting.to_string()}})
        }
    };
    recorded.to_string()
}

fn to_event(event: Event) -> NativeEvent {
    let (kind, id, json) = match event {
        Event::Step { id, json } => ("step", id, json),
        Event::Cancelled { id } => ("cancelled", id, String::new()),
        Event::Stopping => ("stopping", 0, String::new()),
        Event::Log { json } => ("log", 0, json),
    };
    // The bridge counts from 1.
    NativeEvent { kind, id: i64::try_from(id).unwrap_or(i64::MAX), json }
}

fn to_js(error: impl std::fmt::Display) -> Error {
    Error::from_reason(error.to_string())
}
