//! `Tasker::NativeWorker`: the worker runtime for Ruby. Each method is one call of the bridge.

mod lock;

use magnus::{Class, Error, ExceptionClass, Module, Object, RArray, RModule, Ruby, Symbol, function, method};
use tasker_worker::HandlerError;
use tasker_worker_bridge::{Bridge, Error as BridgeError, Event, Options, check};

/// A running worker whose handlers are in Ruby.
#[magnus::wrap(class = "Tasker::NativeWorker", free_immediately)]
struct NativeWorker(Bridge);

/// Defines the native part of the module `Tasker`.
#[magnus::init(name = "tasker_native")]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let tasker = ruby.define_module("Tasker")?;
    // lib/tasker/native.rb compares it with the Ruby that runs.
    let built_for = format!("{}.{}", rb_sys::RUBY_API_VERSION_MAJOR, rb_sys::RUBY_API_VERSION_MINOR);
    tasker.const_set("BUILT_FOR_RUBY", built_for)?;
    tasker.define_singleton_method("check_outcome", function!(check_outcome, 1))?;
    tasker.define_singleton_method("check_health", function!(check_health, 1))?;
    let class = tasker.define_class("NativeWorker", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("start", function!(NativeWorker::start, 1))?;
    class.define_method("worker_id", method!(NativeWorker::worker_id, 0))?;
    class.define_method("url", method!(NativeWorker::url, 0))?;
    class.define_method("max_concurrent", method!(NativeWorker::max_concurrent, 0))?;
    class.define_method("next", method!(NativeWorker::next, 1))?;
    class.define_method("complete", method!(NativeWorker::complete, 2))?;
    class.define_method("stop", method!(NativeWorker::stop, 0))
}

impl NativeWorker {
    /// Starts a worker with these options, a JSON object.
    fn start(ruby: &Ruby, options: String) -> Result<Self, Error> {
        let options = Options::from_json(&options).map_err(|error| to_ruby(ruby, &error))?;
        let started = lock::without_lock(ruby, &|| Bridge::start(options.clone()))?;
        started.map(Self).map_err(|error| to_ruby(ruby, &error))
    }

    fn worker_id(&self) -> &str {
        self.0.worker_id()
    }

    fn url(&self) -> &str {
        self.0.url()
    }

    fn max_concurrent(&self) -> u32 {
        self.0.max_concurrent()
    }

    /// Waits for events: arrays of kind, id and JSON text. Returns nil at the end, and none if Ruby interrupts the
    /// thread.
    fn next(ruby: &Ruby, this: &Self, limit: usize) -> Result<Option<RArray>, Error> {
        let Some(events) = lock::interruptible(&this.0, &|| this.0.next(limit)) else {
            return Ok(Some(ruby.ary_new()));
        };
        let Some(events) = events.map_err(|error| to_ruby(ruby, &error))? else { return Ok(None) };
        let array = ruby.ary_new_capa(events.len());
        for event in events {
            array.push(to_tuple(ruby, event))?;
        }
        Ok(Some(array))
    }

    /// Returns the outcome of a step. It does not wait for anything, so it keeps the lock of the interpreter.
    fn complete(ruby: &Ruby, this: &Self, id: u64, outcome: String) -> Result<bool, Error> {
        this.0.complete(id, &outcome).map_err(|error| to_ruby(ruby, &error))
    }

    /// Stops the worker gracefully.
    fn stop(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        lock::without_lock(ruby, &|| this.0.stop())?.map_err(|error| to_ruby(ruby, &error))
    }
}

fn to_tuple(ruby: &Ruby, event: Event) -> (Symbol, u64, String) {
    let (kind, id, json) = match event {
        Event::Step { id, json } => ("step", id, json),
        Event::Cancelled { id } => ("cancelled", id, String::new()),
        Event::Stopping => ("stopping", 0, String::new()),
        Event::Log { json } => ("log", 0, json),
    };
    (ruby.to_symbol(kind), id, json)
}

/// Asks the worker on this machine that was started with these options, a JSON object, whether it is healthy.
fn check_health(ruby: &Ruby, options: String) -> Result<(), Error> {
    let options = Options::from_json(&options).map_err(|error| to_ruby(ruby, &error))?;
    let checked = lock::without_lock(ruby, &|| tasker_worker_bridge::check_health(&options))?;
    checked.map_err(|error| to_ruby(ruby, &error))
}

/// Checks an outcome as a worker would. Returns the result as JSON text and nil, or nil and the error: its kind, its
/// message, whether it is permanent, and the delay of the next attempt in milliseconds.
fn check_outcome(outcome: String) -> Checked {
    match check(&outcome) {
        Ok(result) => (Some(result.to_string()), None),
        Err(HandlerError::Permanent { kind, message }) => (None, Some((kind, message, true, None))),
        Err(HandlerError::Retryable { kind, message, retry_after }) => {
            let delay = retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            (None, Some((kind, message, false, delay)))
        }
        Err(waiting @ HandlerError::Waiting(_)) => (None, Some(("waiting".into(), waiting.to_string(), false, None))),
    }
}

type Checked = (Option<String>, Option<(String, String, bool, Option<u64>)>);

fn to_ruby(ruby: &Ruby, error: &BridgeError) -> Error {
    let created = match error {
        BridgeError::Forked { .. } => {
            class_of(ruby, "ForkError").and_then(|class| class.new_instance((error.to_string(),)))
        }
        BridgeError::Unhealthy(_) => {
            class_of(ruby, "UnhealthyError").and_then(|class| class.new_instance((error.to_string(),)))
        }
        _ => class_of(ruby, "StartError").and_then(|class| class.new_instance((error.to_string(), error.exit_code()))),
    };
    created.map_or_else(|failed| failed, Error::from)
}

/// An error class of the library, which defines them before it loads this part.
fn class_of(ruby: &Ruby, name: &str) -> Result<ExceptionClass, Error> {
    ruby.class_object().const_get::<_, RModule>("Tasker")?.const_get(name)
}
