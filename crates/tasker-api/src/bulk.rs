//! Actions on all tasks that match a filter.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::TaskSummary;
use crate::check::object;

/// What a bulk job does to each task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// Retries all failed steps.
    Retry,
    /// Cancels the task.
    Cancel,
    /// Fails a task that is blocked by failures.
    Fail,
}

impl BulkAction {
    /// The name in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Fail => "fail",
        }
    }
}

/// Selects tasks, with the conditions of `GET /v1/tasks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskConditions {
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
    /// Only tasks with this tag or searchable value.
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
}

/// The request `POST /v1/bulk`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBulkJob {
    /// The action.
    pub action: BulkAction,
    /// The tasks. At least one condition is required.
    #[serde(deserialize_with = "object")]
    pub filter: TaskConditions,
    /// Only count the tasks and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Who acts. The history of each task records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why. The history of each task records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The response to a dry run of `POST /v1/bulk`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkPreview {
    /// How many tasks match now.
    pub matched: i64,
    /// Whether all tasks were counted. If not, `matched` means "at least".
    pub complete: bool,
    /// The newest of them, at most five.
    pub examples: Vec<TaskSummary>,
}

/// The state of a bulk job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkStatus {
    /// A server works on it, or will within seconds.
    Running,
    /// All tasks have been looked at.
    Completed,
    /// An operator stopped it.
    Stopped,
    /// It cannot go on; `error` says why.
    Failed,
}

/// A bulk job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkJob {
    /// Its id.
    pub id: Uuid,
    /// The action.
    pub action: BulkAction,
    /// The tasks. Only tasks that were created before the job.
    pub filter: TaskConditions,
    /// Who acts.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Its state.
    pub status: BulkStatus,
    /// How many matching tasks it has looked at.
    pub examined: i64,
    /// How many of them it has changed.
    pub done: i64,
    /// How many of them did not allow the action any more.
    pub skipped: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its last batch ended.
    pub updated_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The response to `GET /v1/bulk`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BulkJobList {
    /// The newest 100 jobs, the newest first.
    pub jobs: Vec<BulkJob>,
}
