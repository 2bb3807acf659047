//! A closer look at a step: why it waits, and its attempts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{StepDetail, StepState};

/// The response to `GET /v1/tasks/{task_uuid}/steps/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepInspection {
    /// The step.
    #[serde(flatten)]
    pub step: StepDetail,
    /// Why it does not run or has no result yet. Empty for a step that has one.
    pub waiting: Vec<Waiting>,
}

/// A reason why a step waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// The kind of the reason.
    pub reason: WaitReason,
    /// The reason in a sentence.
    pub message: String,
    /// The steps that it waits for.
    pub steps: Vec<String>,
    /// Until when it waits, if that is known.
    pub until: Option<DateTime<Utc>>,
    /// The workers that the reason is about.
    pub workers: Vec<String>,
    /// How many steps it waits for, or how many are before it in the queue or at the gate.
    pub count: Option<i64>,
    /// The task to look at: the child task for which it waits, or the one further down that is blocked by failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Uuid>,
    /// The signal for which it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

/// The kinds of reasons why a step waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Steps that it depends on have no result yet.
    Dependencies,
    /// A step that it depends on has failed.
    BlockedDependency,
    /// An attempt failed, and the next one starts after a delay.
    Backoff,
    /// A worker runs it.
    Running,
    /// The worker that ran it sends no heartbeats. It starts again when its lease ends.
    WorkerLost,
    /// No live worker serves its namespace.
    NoWorker,
    /// No live worker of its namespace has its handler.
    NoHandler,
    /// Every worker with its handler runs as many steps as it can.
    WorkersFull,
    /// Other steps are before it in the queue.
    Queue,
    /// It has failed, and an operator must decide.
    NeedsOperator,
    /// Its children, or enough other children of its group, have not ended.
    Children,
    /// It waits for a time, a signal or another task.
    Waiting,
    /// Its namespace is paused.
    Paused,
    /// No worker has taken it for a long time, although it is ready and a worker has a free slot.
    Stalled,
    /// Its message is not in the queue any more, so no worker finds it.
    MessageLost,
    /// It waits for a slot of a gate, behind `count` others, or for the rate of a gate, until `until`.
    Gate,
}

/// The query of `GET /v1/tasks/{task_uuid}/attempts` and `GET /v1/tasks/{task_uuid}/transitions`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListOfTask {
    /// Only entries of this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The most entries of a page. If absent, the list has one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The start of the page: `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[0-9]{1,18}$")]
    pub cursor: Option<String>,
}

/// The response to `GET /v1/tasks/{task_uuid}/attempts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptList {
    /// The attempts, the oldest first.
    pub attempts: Vec<Attempt>,
    /// The cursor of the next page. Absent on the last page.
    pub next_cursor: Option<String>,
}

/// An attempt of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// The step.
    pub step: String,
    /// The number of the attempt. An operator's retry starts again at 1.
    pub attempt: i16,
    /// The worker.
    pub worker_id: Option<String>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended. Absent while it runs.
    pub ended_at: Option<DateTime<Utc>>,
    /// The state that its end gave the step. `in_progress`: it was lost, and the next attempt started. `enqueued`: the
    /// worker returned the step. Absent while it runs.
    pub outcome: Option<StepState>,
    /// The kind of its error.
    pub kind: Option<String>,
    /// The message of its error, or another reason for its end.
    pub message: Option<String>,
}
