//! `tasker._native`: the worker runtime for Python. Each function is one call of the bridge.

use pyo3::prelude::*;

/// The worker runtime. Use `tasker.Worker` instead.
#[pymodule]
mod _native {
    use pyo3::create_exception;
    use pyo3::exceptions::{PyException, PyRuntimeError};
    use pyo3::prelude::*;
    use tasker_worker::HandlerError;
    use tasker_worker_bridge::{Bridge, Error, Event, Options};

    create_exception!(_native, BridgeError, PyException, "The arguments are the message and an exit code.");

    /// The version of the library.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("BridgeError", module.py().get_type::<BridgeError>())
    }

    /// An event: its kind, its id, and JSON text.
    type Fields = (&'static str, u64, String);

    /// A running worker whose handlers are in Python.
    #[pyclass(frozen)]
    struct NativeWorker(Bridge);

    #[pymethods]
    impl NativeWorker {
        /// Starts a worker with these options, a JSON object.
        #[new]
        fn new(py: Python<'_>, options: &str) -> PyResult<Self> {
            let options = Options::from_json(options).map_err(|error| to_python(&error))?;
            py.detach(|| Bridge::start(options)).map(Self).map_err(|error| to_python(&error))
        }

        #[getter]
        fn worker_id(&self) -> &str {
            self.0.worker_id()
        }

        #[getter]
        fn url(&self) -> &str {
            self.0.url()
        }

        #[getter]
        fn max_concurrent(&self) -> u32 {
            self.0.max_concurrent()
        }

        /// Waits for events: tuples of kind, id and JSON text. None at the end.
        fn next(&self, py: Python<'_>, limit: usize) -> PyResult<Option<Vec<Fields>>> {
            let events = py.detach(|| self.0.next(limit)).map_err(|error| to_python(&error))?;
            Ok(events.map(|events| events.into_iter().map(to_tuple).collect()))
        }

        /// Makes a waiting `next` return.
        fn interrupt(&self) {
            self.0.interrupt();
        }

        /// Returns the outcome of a step. It does not release the lock of the interpreter: a thread that did, and then
        /// waited for the lock while the process exits, would crash it.
        fn complete(&self, step_id: u64, outcome: &str) -> PyResult<bool> {
            self.0.complete(step_id, outcome).map_err(|error| to_python(&error))
        }

        /// Stops the worker gracefully.
        fn stop(&self, py: Python<'_>) -> PyResult<()> {
            py.detach(|| self.0.stop()).map_err(|error| to_python(&error))
        }
    }

    /// Asks the worker on this machine that was started with these options whether it is healthy.
    #[pyfunction]
    fn check_health(py: Python<'_>, options: &str) -> PyResult<()> {
        let options = Options::from_json(options).map_err(|error| to_python(&error))?;
        py.detach(|| tasker_worker_bridge::check_health(&options)).map_err(|error| to_python(&error))
    }

    /// Checks an outcome as a worker would. Returns the result as JSON text and none, or none and the error: its kind,
    /// its message, whether it is permanent, and the delay of the next attempt in milliseconds.
    #[pyfunction]
    fn check_outcome(outcome: &str) -> Checked {
        match tasker_worker_bridge::check(outcome) {
            Ok(result) => (Some(result.to_string()), None),
            Err(HandlerError::Permanent { kind, message }) => (None, Some((kind, message, true, None))),
            Err(HandlerError::Retryable { kind, message, retry_after }) => {
                (None, Some((kind, message, false, retry_after.map(|delay| delay.as_millis()))))
            }
            Err(waiting @ HandlerError::Waiting(_)) => {
                (None, Some(("waiting".into(), waiting.to_string(), false, None)))
            }
        }
    }

    type Checked = (Option<String>, Option<(String, String, bool, Option<u128>)>);

    fn to_tuple(event: Event) -> Fields {
        match event {
            Event::Step { id, json } => ("step", id, json),
            Event::Cancelled { id } => ("cancelled", id, String::new()),
            Event::Stopping => ("stopping", 0, String::new()),
            Event::Log { json } => ("log", 0, json),
        }
    }

    fn to_python(error: &Error) -> PyErr {
        match error {
            Error::Forked { .. } => PyRuntimeError::new_err(error.to_string()),
            _ => BridgeError::new_err((error.to_string(), error.exit_code())),
        }
    }
}
