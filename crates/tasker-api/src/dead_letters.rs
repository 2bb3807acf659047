//! Dead letters: investigations of tasks that do not go on by themselves.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::TaskState;

/// Why a task is investigated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterReason {
    /// It took longer than its template allows, and was cancelled.
    StalenessTimeout,
    /// Steps have failed, and no other step can run.
    MaxRetriesExceeded,
    /// Its steps depend on each other. Templates with cycles are refused, so this does not happen.
    DependencyCycleDetected,
    /// No worker serves its namespace. For operators; no server opens it.
    WorkerUnavailable,
    /// An operator opened the investigation.
    ManualDlq,
}

/// How far an investigation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResolutionStatus {
    /// It is open.
    Pending,
    /// The cause is fixed.
    ManuallyResolved,
    /// The task cannot be saved.
    PermanentlyFailed,
    /// The investigation was given up.
    Cancelled,
}

impl ResolutionStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::ManuallyResolved, Self::PermanentlyFailed, Self::Cancelled];

    /// The name used in the API, the command line and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::ManuallyResolved => "manually_resolved",
            Self::PermanentlyFailed => "permanently_failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An investigation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// The id of the investigation. It is a UUIDv7, so ids sort by the time of opening.
    pub dlq_entry_uuid: Uuid,
    /// The task.
    pub task_uuid: Uuid,
    /// The namespace of the task.
    pub namespace: String,
    /// The name of its template.
    pub name: String,
    /// The version of its template.
    pub version: String,
    /// Why it is investigated.
    pub dlq_reason: DeadLetterReason,
    /// The state of the task when the investigation was opened.
    pub original_state: TaskState,
    /// The state of the task now.
    pub current_state: TaskState,
    /// How far the investigation is.
    pub resolution_status: ResolutionStatus,
    /// What was found out.
    pub resolution_notes: Option<String>,
    /// Any value, for people and tools.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Who closed the investigation.
    pub resolved_by: Option<String>,
    /// When it was closed.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// The response to `GET /v1/dlq`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterList {
    /// The investigations, newest first.
    pub entries: Vec<DeadLetter>,
    /// The cursor of the next page, if there may be one.
    pub next_cursor: Option<Uuid>,
}

/// The query of `GET /v1/dlq`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListDeadLetters {
    /// Only tasks of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Only investigations with this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub resolution_status: Option<ResolutionStatus>,
    /// Only investigations of this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_uuid: Option<Uuid>,
    /// How many entries at most, 1 to 500; 50 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The cursor that the previous page returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
}

/// The request `POST /v1/dlq`: opens an investigation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenDeadLetter {
    /// The task.
    pub task_uuid: Uuid,
    /// What is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution_notes: Option<String>,
}

/// The request `PATCH /v1/dlq/{dlq_entry_uuid}`. A field that is absent does not change.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchDeadLetter {
    /// How far the investigation is. `pending` opens it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution_status: Option<ResolutionStatus>,
    /// What was found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution_notes: Option<String>,
    /// Any object, for people and tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Who closes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<String>,
}
