//! What a handler knows about its step.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tasker_engine::ClaimedStep;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::error::HandlerError;

/// One attempt of a step, as its handler sees it. Clones are cheap and share the cancellation.
///
/// The attempt occupies a slot of the worker until its result is recorded and all clones are dropped. Blocking code
/// that may exceed the time limit should keep a clone until it ends. Then the worker never runs more handlers at once
/// than it has slots.
#[derive(Debug, Clone)]
pub struct StepContext(Arc<Attempt>);

#[derive(Debug)]
struct Attempt {
    step: ClaimedStep,
    deadline: Instant,
    cancelled: CancellationToken,
    /// Cancelled when the attempt is dropped.
    _unused: DropGuard,
}

/// Tells whether clones of a context exist.
#[derive(Debug)]
pub(crate) struct InUse {
    attempt: Weak<Attempt>,
    unused: CancellationToken,
}

impl InUse {
    /// Whether all clones are dropped.
    pub(crate) fn is_empty(&self) -> bool {
        self.attempt.strong_count() == 0
    }

    /// Waits until all clones are dropped.
    pub(crate) async fn wait_until_empty(&self) {
        self.unused.cancelled().await;
    }
}

impl StepContext {
    /// Creates a context that is never cancelled, for tests of handlers.
    pub fn new(step: ClaimedStep) -> Self {
        Self::of_attempt(step, CancellationToken::new()).0
    }

    pub(crate) fn of_attempt(step: ClaimedStep, cancelled: CancellationToken) -> (Self, InUse) {
        // Never negative: the minimum of a template is one second.
        let time_limit = Duration::from_secs(u64::try_from(step.timeout_seconds).unwrap_or_default());
        let deadline = Instant::now() + time_limit;
        let unused = CancellationToken::new();
        let attempt = Arc::new(Attempt { step, deadline, cancelled, _unused: unused.clone().drop_guard() });
        let in_use = InUse { attempt: Arc::downgrade(&attempt), unused };
        (Self(attempt), in_use)
    }

    /// The task's id.
    pub fn task_id(&self) -> Uuid {
        self.0.step.task_id
    }

    /// The step's idempotency key, `TASK_ID/STEP_NAME`. It is the same in every attempt, and no other step has it. Send
    /// it to systems that must carry out a request only once.
    pub fn key(&self) -> String {
        format!("{}/{}", self.task_id(), self.step_name())
    }

    /// The step's name, unique in its task.
    pub fn step_name(&self) -> &str {
        &self.0.step.step_name
    }

    /// The task's namespace.
    pub fn namespace(&self) -> &str {
        &self.0.step.namespace
    }

    /// The name of the task's template.
    pub fn template_name(&self) -> &str {
        &self.0.step.template_name
    }

    /// The version of the task's template.
    pub fn template_version(&self) -> &str {
        &self.0.step.template_version
    }

    /// The name of the handler in the template.
    pub fn callable(&self) -> &str {
        &self.0.step.callable
    }

    /// The element for which this child of a step with `map` runs. None for every other step.
    pub fn item(&self) -> Option<&Value> {
        self.0.step.input.as_ref()?.get("item")
    }

    /// The payload of the signal for which the step waited. None if it did not wait for one, or the signal did not arrive
    /// in time.
    pub fn signal(&self) -> Option<&Value> {
        self.0.step.input.as_ref()?.get("signal")
    }

    /// The value that an earlier attempt of the step stored when it began to wait. See
    /// [`HandlerError::checkpoint`](crate::HandlerError::checkpoint).
    pub fn checkpoint(&self) -> Option<&Value> {
        self.0.step.input.as_ref()?.get("checkpoint")
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> i16 {
        self.0.step.attempt
    }

    /// The largest number of attempts.
    pub fn max_attempts(&self) -> i16 {
        self.0.step.max_attempts
    }

    pub(crate) fn timeout_seconds(&self) -> i32 {
        self.0.step.timeout_seconds
    }

    /// When the attempt must end: its start plus the step's `timeout_seconds`. An attempt that takes longer fails with
    /// a retryable error of kind `timeout`. Use the remaining time as the timeout of calls to other systems.
    pub fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// The place of the attempt in a trace, as a W3C `traceparent`: send it to other systems in the header of this name.
    /// None if the task is in no trace.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.step.traceparent.as_deref()
    }

    /// The task's input as JSON.
    pub fn context(&self) -> &Value {
        &self.0.step.context
    }

    /// The results of the steps that this one depends on: a JSON object with the step names as keys.
    pub fn dependency_results(&self) -> &Value {
        &self.0.step.dependency_results
    }

    /// The template's settings for the handler (`handler.initialization`) as JSON.
    pub fn initialization_value(&self) -> &Value {
        &self.0.step.initialization
    }

    /// The task's input as a `T`.
    ///
    /// # Errors
    /// A permanent error of kind `bad_input` if the input is not a `T`.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        decode(&self.0.step.context, "the task's context")
    }

    /// The template's settings for the handler (`handler.initialization`) as a `T`.
    ///
    /// # Errors
    /// A permanent error of kind `bad_input` if they are not a `T`.
    pub fn initialization<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        decode(&self.0.step.initialization, "handler.initialization of the template")
    }

    /// The result of a step that this one depends on, as a `T`.
    ///
    /// # Errors
    /// A permanent error of kind `bad_input` if this step does not depend on it or its result is not a `T`.
    pub fn dependency<T: DeserializeOwned>(&self, name: &str) -> Result<T, HandlerError> {
        match self.0.step.dependency_results.get(name) {
            Some(result) => decode(result, &format!("the result of step `{name}`")),
            None => Err(bad_input(format!(
                "step `{}` does not depend on a step `{name}`; see `dependencies` in template {} {}",
                self.0.step.step_name, self.0.step.template_name, self.0.step.template_version
            ))),
        }
    }

    /// Whether the result of the attempt is no longer wanted: its lease is lost, its task is cancelled, its time is
    /// over, or the worker is stopping and cannot wait any longer.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_cancelled()
    }

    /// Waits until the result of the attempt is no longer wanted; see [`is_cancelled`](Self::is_cancelled). A handler
    /// that keeps running is aborted at an `.await`: five seconds after its lease is lost or its task is cancelled, and
    /// at once in the other cases.
    pub async fn cancelled(&self) {
        self.0.cancelled.cancelled().await;
    }
}

fn decode<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, HandlerError> {
    T::deserialize(value).map_err(|error| bad_input(format!("{what}: {error}")))
}

fn bad_input(message: String) -> HandlerError {
    HandlerError::permanent(message).with_kind("bad_input")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn context() -> StepContext {
        StepContext::new(ClaimedStep {
            task_id: Uuid::nil(),
            step_no: 1,
            token: Uuid::nil(),
            msg_id: 1,
            namespace: "space".into(),
            template_name: "template".into(),
            template_version: "1.0.0".into(),
            step_name: "second".into(),
            callable: "space.second".into(),
            initialization: json!({"factor": 3}),
            context: json!({"number": "four"}),
            dependency_results: json!({"first": [1, 2]}),
            attempt: 1,
            max_attempts: 3,
            timeout_seconds: 30,
            waited_seconds: None,
            input: None,
            traceparent: None,
        })
    }

    #[test]
    fn the_deadline_is_the_start_plus_the_timeout() {
        let before = Instant::now();
        let deadline = context().deadline();
        assert!((before..=Instant::now()).contains(&(deadline - Duration::from_secs(30))));
    }

    #[test]
    fn dependencies_are_read_by_name() {
        let context = context();
        assert_eq!(context.dependency::<Vec<u8>>("first").unwrap(), [1, 2]);
        assert_eq!(
            context.dependency::<Value>("third").unwrap_err().to_string(),
            "bad_input: step `second` does not depend on a step `third`; see `dependencies` in template template 1.0.0"
        );
    }

    #[test]
    fn wrong_input_is_a_permanent_error_with_its_place() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its shape counts")]
        struct Input {
            number: u64,
        }
        assert_eq!(
            context().input::<Input>().unwrap_err(),
            HandlerError::Permanent {
                kind: "bad_input".into(),
                message: "the task's context: invalid type: string \"four\", expected u64".into()
            }
        );
    }
}
