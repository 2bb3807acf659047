//! Tasks and their steps.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A text that is not the name of a state.
#[derive(Debug, thiserror::Error)]
#[error("'{given}' is not a state; the states are {known}")]
pub struct UnknownState {
    given: String,
    known: String,
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every state.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name used in the API, the command line and the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownState;

            fn from_str(text: &str) -> Result<Self, UnknownState> {
                Self::ALL.iter().copied().find(|state| state.as_str() == text).ok_or_else(|| UnknownState {
                    given: text.to_owned(),
                    known: [$($text,)*].join(", "),
                })
            }
        }
    };
}

states! {
    /// The state of a task.
    TaskState {
        /// Created; no step has started.
        Pending = "pending",
        /// Steps run, or wait for their turn.
        InProgress = "in_progress",
        /// Steps have failed and nothing is left to run: an operator must decide.
        BlockedByFailures = "blocked_by_failures",
        /// Every step has completed. Final.
        Completed = "completed",
        /// An operator gave it up after steps had failed. Final.
        Failed = "failed",
        /// An operator ended it. Final.
        Cancelled = "cancelled",
    }
}

impl TaskState {
    /// Whether the task will never change again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether the task will not change again unless an operator acts: final, or blocked by failures.
    pub fn is_at_rest(self) -> bool {
        self.is_final() || self == Self::BlockedByFailures
    }
}

states! {
    /// The state of a step.
    StepState {
        /// Waits for its dependencies.
        Pending = "pending",
        /// In the queue.
        Enqueued = "enqueued",
        /// A worker holds its lease.
        InProgress = "in_progress",
        /// An attempt failed; the next one comes after the backoff delay.
        WaitingForRetry = "waiting_for_retry",
        /// Has a result.
        Completed = "completed",
        /// No attempt is left, or the error was permanent.
        Failed = "failed",
        /// Its task was ended.
        Cancelled = "cancelled",
        /// Has a result from an operator.
        ResolvedManually = "resolved_manually",
    }
}

/// `POST /v1/tasks`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTask {
    /// The template's namespace.
    pub namespace: String,
    /// The template's name.
    pub name: String,
    /// The template's version; the newest one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The task's input: what every step can read, checked against the template's `input_schema`.
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// Makes the request safe to repeat: the same key with the same body gives the existing task, with another body a
    /// conflict. 1 to 255 characters; one space of keys for all templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// 0 (the default) to 100. Steps are taken oldest first; every point counts like ten seconds of waiting.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::check::priority")]
    pub priority: Option<i16>,
    /// Marks of your own, shown with the task: an array of strings, or an object of strings. Up to 32, of up to 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub tags: Option<Value>,
}

/// A task without its input and steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    /// The task's id: a UUIDv7, so ids sort by time of creation.
    pub task_uuid: Uuid,
    /// The template's namespace.
    pub namespace: String,
    /// The template's name.
    pub name: String,
    /// The template's version.
    pub version: String,
    /// Its state.
    pub status: TaskState,
    /// 0 to 100, rounded down: steps with a result in a hundred.
    pub completion_percentage: u8,
    /// How many steps it has.
    pub total_steps: i16,
    /// How many steps have a result.
    pub completed_steps: i16,
    /// How many steps have failed.
    pub failed_steps: i16,
    /// Its priority.
    pub priority: i16,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub tags: Option<Value>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its first step started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became final.
    pub completed_at: Option<DateTime<Utc>>,
}

/// `GET /v1/tasks/{task_uuid}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// The task's input.
    #[schema(value_type = Object)]
    pub context: Value,
    /// Its steps in the order of the template.
    pub steps: Vec<StepDetail>,
}

/// A step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepDetail {
    /// The step's name, unique in its task.
    pub name: String,
    /// Its state.
    pub status: StepState,
    /// How many attempts have started, since the last retry by an operator.
    pub attempts: i16,
    /// How many attempts there may be.
    pub max_attempts: i16,
    /// The names of the steps that it waits for.
    pub dependencies: Vec<String>,
    /// Its result, once it has one.
    #[schema(value_type = Object)]
    pub result: Option<Value>,
    /// Why its last attempt failed: an object with `kind` and `message`.
    #[schema(value_type = Object)]
    pub error: Option<Value>,
    /// The worker that holds or held its last attempt.
    pub worker_id: Option<String>,
    /// When its last attempt started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it got its result, failed for good, or was cancelled.
    pub completed_at: Option<DateTime<Utc>>,
}

/// `GET /v1/tasks/{task_uuid}/steps`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StepList {
    /// The steps in the order of the template.
    pub steps: Vec<StepDetail>,
}

/// Query of `GET /v1/tasks`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListTasks {
    /// Only tasks of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Only tasks in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<TaskState>)]
    pub status: Option<String>,
    /// How many tasks a page has, 1 to 500; 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Where the page begins: `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `GET /v1/tasks`: newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// One page of tasks.
    pub tasks: Vec<TaskSummary>,
    /// Names the next page; absent on the last one.
    pub next_cursor: Option<String>,
}

/// What an operator says with an action: `POST /v1/tasks/{task_uuid}/cancel` and the like. An empty body says nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorAction {
    /// Who acts; goes into the history. At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why; goes into the history. At most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /v1/tasks/{task_uuid}/steps/{name}/resolve`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveStep {
    /// The step's result; at most 1 MiB.
    #[schema(value_type = Object)]
    pub result: Value,
    /// Who acts; goes into the history. At most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why; goes into the history. At most 1,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /v1/tasks/{task_uuid}/transitions`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TransitionList {
    /// Every change of state, oldest first.
    pub transitions: Vec<Transition>,
}

/// A change of state of a task or of one of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transition {
    /// When.
    pub at: DateTime<Utc>,
    /// The step; absent for a change of the task itself.
    pub step: Option<String>,
    /// The attempt that it belongs to.
    pub attempt: Option<i16>,
    /// The state before; absent at the creation.
    pub from: Option<String>,
    /// The state after.
    pub to: String,
    /// The worker or operator that caused it.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
}
