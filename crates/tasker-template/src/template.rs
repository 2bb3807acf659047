//! A checked template: a workflow's steps, their handlers and their order.

use semver::Version;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::flow::{
    BatchConfig, ChildTask, Concurrency, Condition, Environment, Event, Lifecycle, MapConfig, Rate, StepType, Wait,
};
use crate::graph::Graph;

/// A workflow: its steps and the order in which they run.
///
/// Only [`parse`](crate::parse) creates one, so it always follows the rules of the format. As JSON it is a template
/// again, which parses to the same value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TaskTemplate {
    /// The name. Namespace, name and version together are unique.
    pub name: String,
    /// The namespace. Its workers run the steps.
    pub namespace_name: String,
    /// The semantic version; [`version_key`](crate::version_key) sorts versions.
    pub version: Version,
    /// A description for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Any value, for people and tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// The JSON Schema of a task's context; see [`InputValidator`](crate::InputValidator). Without it, any context is
    /// accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// JSON pointers (RFC 6901) to the values of a task's context by which the task can be found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searchable: Vec<String>,
    /// The steps in the order of the file, which numbers them from 0.
    pub steps: Vec<StepTemplate>,
    /// All other fields of the file, as written. This includes the fields that are decoded below.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    /// The time limits of a task, if the template has `lifecycle`.
    #[serde(skip)]
    pub lifecycle: Option<Lifecycle>,
    /// The settings of single environments.
    #[serde(skip)]
    pub environments: Vec<Environment>,
    #[serde(skip)]
    pub(crate) graph: Graph,
}

impl TaskTemplate {
    /// The numbers of the steps that step `step` depends on, in the order of the file. Empty for a number out of range.
    pub fn dependencies_of(&self, step: usize) -> &[u16] {
        self.graph.dependencies_of(step)
    }

    /// The numbers of the steps that depend on step `step`, in ascending order. Empty for a number out of range.
    pub fn dependents_of(&self, step: usize) -> &[u16] {
        self.graph.dependents_of(step)
    }

    /// The numbers of all steps, level by level. The steps of the first level depend on nothing. Every other step is
    /// one level below the last of its dependencies.
    pub fn levels(&self) -> Vec<Vec<u16>> {
        self.graph.levels()
    }

    /// Returns the steps as they are in an environment. Without settings for it, they are the steps as written.
    pub fn steps_in(&self, environment: &str) -> Vec<StepTemplate> {
        let mut steps = self.steps.clone();
        let settings = self.environments.iter().find(|settings| settings.name == environment);
        for change in settings.into_iter().flat_map(|settings| &settings.steps) {
            let numbers = change.step.map_or(0..steps.len(), |step| usize::from(step)..usize::from(step) + 1);
            for step in steps.get_mut(numbers).into_iter().flatten() {
                if let Some(seconds) = change.timeout_seconds {
                    step.timeout_seconds = seconds;
                }
                if let Some(retry) = &change.retry {
                    step.retry = retry.clone();
                }
                if let Some(Handler { initialization: Value::Object(fields), .. }) = &mut step.handler {
                    fields.extend(change.initialization.clone());
                }
            }
        }
        steps
    }
}

/// One step of a template.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepTemplate {
    /// The name, unique in the template.
    pub name: String,
    /// A description for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The code that runs the step. None if the step runs a [`task`](Self::task) and the file names no handler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
    /// The names of the steps that must complete first, as written.
    pub dependencies: Vec<String>,
    /// What happens after a failed attempt.
    pub retry: RetryPolicy,
    /// How long each attempt may take, in seconds.
    pub timeout_seconds: u32,
    /// All other fields of the step, as written. This includes the fields that are decoded below.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    /// The type of the step.
    #[serde(skip)]
    pub step_type: StepType,
    /// The conditions under which the step runs. All must hold.
    #[serde(skip)]
    pub when: Vec<Condition>,
    /// How the step runs as batches.
    #[serde(skip)]
    pub batch_config: Option<BatchConfig>,
    /// Makes the step run once for each element of a list.
    #[serde(skip)]
    pub map: Option<MapConfig>,
    /// What the step waits for after its dependencies.
    #[serde(skip)]
    pub wait: Option<Wait>,
    /// How many steps run at once.
    #[serde(skip)]
    pub concurrency: Option<Concurrency>,
    /// How many steps start in a time.
    #[serde(skip)]
    pub rate: Option<Rate>,
    /// The task that runs in place of a handler.
    #[serde(skip)]
    pub task: Option<ChildTask>,
    /// The domain events that the step publishes.
    #[serde(skip)]
    pub events: Vec<Event>,
}

impl StepTemplate {
    /// The default of `timeout_seconds`: five minutes.
    pub const DEFAULT_TIMEOUT_SECONDS: u32 = 300;

    /// The name of the code that runs the step. Empty if the step has no handler.
    pub fn callable(&self) -> &str {
        self.handler.as_ref().map_or("", |handler| &handler.callable)
    }

    /// The settings for the handler: a JSON object. Empty if the step has no handler.
    pub fn initialization(&self) -> Value {
        self.handler.as_ref().map_or_else(|| Value::Object(Map::new()), |handler| handler.initialization.clone())
    }
}

/// The code that runs a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Handler {
    /// The name under which workers register the code.
    pub callable: String,
    /// Settings for the handler: a JSON object, empty by default.
    pub initialization: Value,
    /// All other fields of the handler, as written.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Whether and when a failed step is tried again. A step without a policy has the [default](Self::default).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetryPolicy {
    /// Whether a failed attempt is repeated at all.
    pub retryable: bool,
    /// The number of attempts, including the first, as written; see [`max_attempts`](Self::max_attempts).
    pub limit: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// The delay before the second attempt, in milliseconds.
    pub backoff_base_ms: u32,
    /// The longest delay, in milliseconds; at least `backoff_base_ms`.
    pub max_backoff_ms: u32,
    /// All other fields of the policy, as written.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl RetryPolicy {
    /// The largest number of attempts: `limit`, or one if the step is not retryable.
    pub fn max_attempts(&self) -> u32 {
        if self.retryable { self.limit } else { 1 }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retryable: true,
            limit: 3,
            backoff: Backoff::Exponential,
            backoff_base_ms: 1000,
            max_backoff_ms: 30_000,
            extra: Map::new(),
        }
    }
}

/// How the delay between attempts grows, from `backoff_base_ms` up to `max_backoff_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// The delay doubles each time.
    Exponential,
    /// The delay grows by `backoff_base_ms` each time.
    Linear,
    /// The delay stays the same.
    Fixed,
}

impl Backoff {
    /// Every backoff.
    pub const ALL: [Self; 3] = [Self::Exponential, Self::Linear, Self::Fixed];

    /// The name in templates and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Linear => "linear",
            Self::Fixed => "fixed",
        }
    }
}

impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
