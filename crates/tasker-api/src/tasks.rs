//! Tasks and their steps.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{AdditionalProperties, Array, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::limits::{MAX_TAG_CHARS, MAX_TAGS};

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
        /// Steps run, or wait to run.
        InProgress = "in_progress",
        /// Steps have failed and no other step can run: an operator must decide.
        BlockedByFailures = "blocked_by_failures",
        /// Every step has completed. Final.
        Completed = "completed",
        /// An operator marked it as failed after steps had failed. Final.
        Failed = "failed",
        /// An operator cancelled it. Final.
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
        /// It waits for its dependencies.
        Pending = "pending",
        /// It is in the queue.
        Enqueued = "enqueued",
        /// A worker holds its lease.
        InProgress = "in_progress",
        /// An attempt failed. The next one starts after the backoff delay.
        WaitingForRetry = "waiting_for_retry",
        /// It has a result.
        Completed = "completed",
        /// It has no attempt left, or its error was permanent.
        Failed = "failed",
        /// Its task was cancelled or failed.
        Cancelled = "cancelled",
        /// It has a result from an operator.
        ResolvedManually = "resolved_manually",
        /// It does not run, because a decision or a condition says so.
        Skipped = "skipped",
        /// It waits for a time, a signal or another task.
        Waiting = "waiting",
    }
}

/// Tags are an array of strings, an object of strings, or null.
pub(crate) fn tags_schema() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String).max_length(Some(MAX_TAG_CHARS)).build();
    let mut list = Array::new(text());
    list.max_items = Some(MAX_TAGS);
    let named = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::Object(text())))))
        .max_properties(Some(MAX_TAGS))
        .build();
    let null = ObjectBuilder::new().schema_type(Type::Null).build();
    OneOfBuilder::new()
        .description(Some("Labels for your own use: an array of strings, or an object whose values are strings"))
        .item(list)
        .item(named)
        .item(null)
        .into()
}

/// The request `POST /v1/tasks`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTask {
    /// The template's namespace.
    pub namespace: String,
    /// The template's name.
    pub name: String,
    /// The template's version. If absent, the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The input of the task. It must match the `input_schema` of the template, and every step can read it.
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// Makes the request safe to repeat. The same request with the same key returns the existing task; another
    /// request with the same key is a conflict. All templates of a namespace share its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// 0 by default. The step that has waited longest starts first, and each point of priority counts as ten
    /// seconds of waiting.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::check::priority")]
    pub priority: Option<i16>,
    /// Labels for your own use: an array of strings, or an object whose values are strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = tags_schema)]
    pub tags: Option<Value>,
}

/// A task without its input and steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    /// The id of the task. It is a UUIDv7, so ids sort by the time of creation.
    pub task_uuid: Uuid,
    /// The template's namespace.
    pub namespace: String,
    /// The template's name.
    pub name: String,
    /// The template's version.
    pub version: String,
    /// Its state.
    pub status: TaskState,
    /// The percentage of steps that have a result, rounded down.
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
    #[schema(schema_with = tags_schema)]
    pub tags: Option<Value>,
    /// The values of its context that its template calls searchable, by JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searchable: Option<BTreeMap<String, String>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its first step started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became final.
    pub completed_at: Option<DateTime<Utc>>,
}

/// The response to `GET /v1/tasks/{task_uuid}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The fields that lists contain too.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// The input of the task.
    #[schema(value_type = Object)]
    pub context: Value,
    /// When its time limit ends, if its template has one and the task has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// Who cancelled it or marked it as failed: an operator, a schedule, or `tasker` at a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Why it was cancelled or marked as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
    /// The task that this one was forked from. It may have been deleted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<Uuid>,
    /// The tasks that were forked from this one, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<Uuid>,
    /// The idempotency key of the request that created it.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// The task whose rerun it is.
    #[serde(default)]
    pub rerun_of: Option<Uuid>,
    /// Its steps in the order of the template.
    pub steps: Vec<StepDetail>,
}

/// A step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepDetail {
    /// The step's name, unique in its task.
    pub name: String,
    /// The handler that runs it. Empty if it runs a task in place of a handler.
    #[serde(default)]
    pub callable: String,
    /// Its state.
    pub status: StepState,
    /// How many attempts have started since the last retry by an operator.
    pub attempts: i16,
    /// The most attempts that are allowed.
    pub max_attempts: i16,
    /// The names of the steps that it waits for.
    pub dependencies: Vec<String>,
    /// Its result: any JSON value.
    #[schema(value_type = Value)]
    pub result: Option<Value>,
    /// Why its last attempt failed: an object with `kind` and `message`.
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
    /// The worker of its last attempt.
    pub worker_id: Option<String>,
    /// When its last attempt started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it completed, failed finally, or was cancelled.
    pub completed_at: Option<DateTime<Utc>>,
    /// The end of the lease of a step in progress, or the earliest time of the next attempt.
    #[serde(default)]
    pub due_at: Option<DateTime<Utc>>,
}

/// The response to `GET /v1/tasks/{task_uuid}/steps`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StepList {
    /// The steps in the order of the template.
    pub steps: Vec<StepDetail>,
}

/// The query of `GET /v1/tasks`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListTasks {
    /// Only tasks of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Only tasks in this state, or in one of several, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Only tasks of the template with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Only tasks of this version of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Only tasks with this tag or searchable value: `vip`, `customer=acme`, `/order_id=42`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only tasks created at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_after: Option<DateTime<Utc>>,
    /// Only tasks created before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_before: Option<DateTime<Utc>>,
    /// Only the task with this idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Only tasks with this UUID, or its first 8 or more digits, this idempotency key, tag or searchable value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// The most tasks of a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The start of the page: `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<Uuid>)]
    pub cursor: Option<String>,
}

/// The response to `GET /v1/tasks`: the newest tasks first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// One page of tasks. A search looks at a limited number of tasks for each page, so a page may have fewer tasks than
    /// its limit, or none, before the last one.
    pub tasks: Vec<TaskSummary>,
    /// The cursor of the next page. Absent on the last page.
    pub next_cursor: Option<String>,
}

/// The request of an action such as `POST /v1/tasks/{task_uuid}/cancel`. The body may be empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorAction {
    /// Who acts. The history records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why. The history records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The request `POST /v1/tasks/{task_uuid}/fork`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkTask {
    /// The name of the step from which the task runs again. The steps that depend on it run again, too.
    pub step: String,
    /// Who acts. The history of the new task records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why. The history of the new task records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The request `POST /v1/tasks/{task_uuid}/rerun`: a new task from the input of another one. What is absent is taken
/// from that task. The body may be empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RerunTask {
    /// The input of the new task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub context: Option<Map<String, Value>>,
    /// The template's version. If absent, the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The priority of the new task.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::check::priority")]
    pub priority: Option<i16>,
    /// The tags of the new task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = tags_schema)]
    pub tags: Option<Value>,
    /// Makes the request safe to repeat. The new task does not take the key of the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Who acts. It is stored with the new task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why. It is stored with the new task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The request `POST /v1/tasks/{task_uuid}/steps/{name}/resolve`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveStep {
    /// The result of the step: any JSON value of at most 1 MiB.
    #[schema(value_type = Value)]
    pub result: Value,
    /// Who acts. The history records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why. The history records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The request `POST /v1/tasks/{task_uuid}/signals/{name}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendSignal {
    /// What the steps that wait for the signal receive: any JSON value of at most 1 MiB. Null if absent.
    #[serde(default)]
    #[schema(value_type = Value)]
    pub payload: Value,
    /// Who sends it. The history records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// The response to `GET /v1/tasks/{task_uuid}/transitions`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TransitionList {
    /// The state changes, the oldest first.
    pub transitions: Vec<Transition>,
    /// The cursor of the next page. Absent on the last page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A state change of a task or of one of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transition {
    /// Its number. Later changes of a task have larger numbers.
    #[serde(default)]
    pub id: i64,
    /// When the state changed.
    pub at: DateTime<Utc>,
    /// The step. Absent if the task itself changed.
    pub step: Option<String>,
    /// The attempt that changed the state.
    pub attempt: Option<i16>,
    /// The previous state. Absent for the creation.
    pub from: Option<String>,
    /// The new state.
    pub to: String,
    /// The worker or operator that caused the change.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The kind of the error of a failed attempt.
    #[serde(default)]
    pub kind: Option<String>,
}
