//! The parts of a template with which a workflow takes shape while it runs: types of steps, conditions, batches, maps,
//! waits, limits, child tasks, time limits, events and environments.
//!
//! The values here are decoded for the engine. The template also keeps the fields as they were written, so its JSON is
//! the same whether or not a release understands them. Steps are named by their numbers.

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::template::RetryPolicy;

/// What kind of step it is, from `type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepType {
    /// Runs once, when all its dependencies have completed. Skipped if one of them was skipped.
    #[default]
    Standard,
    /// Chooses which of the steps that depend on it run. Its result contains `decision_point_outcome`.
    Decision,
    /// Runs when every dependency has completed or was skipped. Skipped only if all of them were.
    DeferredConvergence,
    /// Splits its work into batches. Its result contains `batch_processing_outcome`.
    Batchable,
    /// Runs once for each batch of the batchable step that it depends on.
    BatchWorker,
}

impl StepType {
    /// Every type.
    pub const ALL: [Self; 5] =
        [Self::Standard, Self::Decision, Self::DeferredConvergence, Self::Batchable, Self::BatchWorker];

    /// The name in templates and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Decision => "decision",
            Self::DeferredConvergence => "deferred_convergence",
            Self::Batchable => "batchable",
            Self::BatchWorker => "batch_worker",
        }
    }
}

/// A JSON pointer, split into its tokens. Empty for the whole document. Serialized as a list of strings, which is how
/// PostgreSQL's operator `#>` takes a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pointer(pub(crate) Vec<String>);

impl Pointer {
    /// The tokens, unescaped.
    pub fn tokens(&self) -> &[String] {
        &self.0
    }
}

/// A condition on the result of a dependency, from an item of `when`. A step runs if all its conditions hold; otherwise
/// it is skipped.
///
/// JSON: `{"step": 2, "path": ["score"], "operator": "at_least", "value": 700}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Condition {
    /// The number of the dependency.
    pub step: u16,
    /// The value in the result of the dependency.
    pub path: Pointer,
    /// What must hold for the value.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// A comparison. A value that does not exist (also because its step was skipped) equals nothing and is in no order. A
/// value of another type than the one it is compared with is in no order either.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "operator", content = "value", rename_all = "snake_case")]
pub enum Comparison {
    /// The value equals this one.
    Equals(Value),
    /// The value does not exist or differs from this one.
    NotEquals(Value),
    /// The value equals one of these. The list is not empty.
    In(Vec<Value>),
    /// The value is a smaller number.
    LessThan(Number),
    /// The value is this number or a smaller one.
    AtMost(Number),
    /// The value is a greater number.
    GreaterThan(Number),
    /// The value is this number or a greater one.
    AtLeast(Number),
    /// Whether the value exists. JSON null is a value.
    Exists(bool),
}

/// What happens when a child fails for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureStrategy {
    /// The other children run, and the steps that depend on the group receive the failures among the results.
    ContinueOnFailure,
    /// No further child starts, and the group waits until an operator retries or resolves the failed one.
    FailFast,
    /// The other children run, and the group waits until an operator resolves the failed one.
    Isolate,
}

impl FailureStrategy {
    /// Every strategy.
    pub const ALL: [Self; 3] = [Self::ContinueOnFailure, Self::FailFast, Self::Isolate];

    /// The name in templates and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContinueOnFailure => "continue_on_failure",
            Self::FailFast => "fail_fast",
            Self::Isolate => "isolate",
        }
    }
}

/// How a step runs as batches, from `batch_config`. A batch worker always has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchConfig {
    /// How many items a batch has; only passed on to the handlers.
    pub batch_size: u32,
    /// The most batches that are active at once.
    pub parallelism: u32,
    /// The field of an item that cursors count; only passed on to the handlers.
    pub cursor_field: String,
    /// The name of the batch worker. For a batch worker, its own name.
    pub worker_template: String,
    /// What happens when a batch fails for good.
    pub failure_strategy: FailureStrategy,
}

/// One child for each element of a dependency's result, from `map`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapConfig {
    /// The number of the dependency whose result has the elements.
    pub step: u16,
    /// The list of elements in that result.
    pub path: Pointer,
    /// The most children that are active at once.
    pub parallelism: u32,
    /// What happens when a child fails for good.
    pub failure_strategy: FailureStrategy,
}

/// What a step waits for after its dependencies, from `wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Wait {
    /// A delay.
    Delay {
        /// How long, in seconds.
        delay_seconds: u32,
    },
    /// A signal to the task.
    Signal {
        /// The name of the signal.
        signal: String,
        /// How long to wait, in seconds. Forever if absent.
        timeout_seconds: Option<u32>,
        /// What happens when the time is over.
        on_timeout: OnTimeout,
    },
}

/// What happens to a step whose signal does not arrive in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The step fails.
    Fail,
    /// The step runs without a signal.
    Run,
    /// The step is skipped.
    Skip,
}

/// How many steps run at once, from `concurrency`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Concurrency {
    /// The name of the gate. Steps of all templates of the namespace that name it share it.
    pub gate: String,
    /// The value in the task's context whose values are limited separately. If absent, all steps share one limit.
    pub key: Option<Pointer>,
    /// The most active steps for each value.
    pub limit: u32,
}

/// How many steps start in a time, from `rate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// The name of the gate. Steps of all templates of the namespace that name it share it.
    pub gate: String,
    /// The value in the task's context whose values are limited separately. If absent, all steps share one limit.
    pub key: Option<Pointer>,
    /// How many steps start in `per_seconds`.
    pub limit: u32,
    /// The time, in seconds.
    pub per_seconds: u32,
    /// How many steps may start at once; 1 to `limit`.
    pub burst: u32,
}

/// A task that runs in place of a handler, from `task`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildTask {
    /// The name of its template, in the same namespace.
    pub template: String,
    /// The version. The newest if absent.
    pub version: Option<String>,
    /// The value in the context of the parent that becomes the context of the child.
    pub context_from: Pointer,
}

/// The time limits of a task, from `lifecycle`. All in minutes; an absent limit does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lifecycle {
    /// The longest time from creation to completion.
    pub max_duration_minutes: Option<u32>,
    /// If no worker takes the ready steps of a task for this time, the task is stale.
    pub max_waiting_for_dependencies_minutes: Option<u32>,
    /// After this time in `waiting_for_retry`, a step makes its task stale.
    pub max_waiting_for_retry_minutes: Option<u32>,
    /// After this time in `in_progress`, a step makes its task stale.
    pub max_steps_in_process_minutes: Option<u32>,
    /// What happens to a task that is stale or takes too long.
    pub staleness_action: StalenessAction,
    /// Whether such a task is cancelled. If absent, the action decides.
    pub auto_fail_on_timeout: Option<bool>,
    /// Whether an investigation of such a task is opened. If absent, the action decides.
    pub auto_dlq_on_timeout: Option<bool>,
}

/// What happens to a task that is stale or takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StalenessAction {
    /// It ends, and an investigation is opened.
    Dlq,
    /// It ends.
    Error,
    /// Nothing.
    None,
}

/// A domain event that a step publishes, from an item of `publishes_events`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The name of the event.
    pub name: String,
    /// A description for people.
    pub description: Option<String>,
    /// When it is published.
    pub condition: EventCondition,
    /// How it is delivered.
    pub delivery_mode: DeliveryMode,
    /// The JSON Schema of its payload.
    pub schema: Option<Value>,
}

/// When an event is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventCondition {
    /// When the step completes.
    Success,
    /// When an attempt fails.
    Failure,
    /// When an attempt fails and another one follows.
    RetryableFailure,
    /// When the step fails for good.
    PermanentFailure,
    /// After each attempt.
    Always,
}

/// How an event is delivered. The engine delivers every event through the queue, which also serves readers of the other
/// modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// Through a queue in the database.
    Durable,
    /// Inside the process of the worker.
    Fast,
    /// Both.
    Broadcast,
}

/// Settings that apply in one environment, from an entry of `environments`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    /// The name of the environment.
    pub name: String,
    /// The changes, in the order of the file.
    pub steps: Vec<StepOverride>,
}

/// The change of one step, or of all.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOverride {
    /// The number of the step. None means every step (`ALL`).
    pub step: Option<u16>,
    /// Replaces `timeout_seconds`.
    pub timeout_seconds: Option<u32>,
    /// Replaces the whole policy.
    pub retry: Option<RetryPolicy>,
    /// Entries that are added to `handler.initialization` or replace its entries.
    pub initialization: Map<String, Value>,
}
