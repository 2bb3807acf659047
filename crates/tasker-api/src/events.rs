//! Events of the live stream `GET /v1/events`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{StepState, TaskSummary};

/// The query of `GET /v1/events`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WatchTopics {
    /// What to watch, separated by commas: `task:UUID`, `row:UUID`, `stats`, `workers`, `new`, `new:NAMESPACE`,
    /// `bulk:UUID`. At most 256 topics.
    pub topics: String,
}

/// The event `task`: first with all steps, later with those that have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskEvent {
    /// The task.
    pub task: TaskSummary,
    /// Its steps.
    pub steps: Vec<StepBrief>,
}

/// The event `row`: a task of a list has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RowEvent {
    /// The task.
    pub task: TaskSummary,
}

/// The event `gone`: there is no such task or job, or the caller may not see it. Its topic has no more events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GoneEvent {
    /// The topic.
    pub topic: String,
}

/// The event `new`: tasks that were created since the stream began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewTasksEvent {
    /// The namespace of the topic.
    pub namespace: Option<String>,
    /// How many tasks, up to 1,000.
    pub count: i64,
    /// The newest of them.
    pub newest: Option<Uuid>,
}

/// What a picture of a task shows of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepBrief {
    /// The step's name.
    pub name: String,
    /// Its state.
    pub status: StepState,
    /// How many attempts have started since the last retry by an operator.
    pub attempts: i16,
    /// The worker of its last attempt.
    pub worker_id: Option<String>,
    /// When its last attempt started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it completed, failed finally, or was cancelled.
    pub completed_at: Option<DateTime<Utc>>,
    /// The end of the lease, or the earliest time of the next attempt.
    pub due_at: Option<DateTime<Utc>>,
    /// The kind of its last error.
    pub kind: Option<String>,
}
