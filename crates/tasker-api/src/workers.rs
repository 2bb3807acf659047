//! Workers: the list of the server, and the status that a worker reports itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It starts steps.
    Running,
    /// It finishes its steps and starts no more.
    Draining,
    /// It has shut down.
    Stopped,
    /// Its heartbeats have stopped without a shutdown.
    Lost,
}

impl WorkerState {
    /// The name used in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
        }
    }
}

/// The response to `GET /v1/workers`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkerList {
    /// The workers that have sent a heartbeat, sorted by id.
    pub workers: Vec<WorkerSummary>,
    /// The cursor of the next page. Absent on the last page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// The query of `GET /v1/workers`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListWorkers {
    /// Only workers that serve this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The most workers of a page. If absent, the list has one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The start of the page: `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A worker in the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerSummary {
    /// Its name, unique among running workers.
    pub worker_id: String,
    /// The namespaces that it serves.
    pub namespaces: Vec<String>,
    /// What it is doing.
    pub status: WorkerState,
    /// The most steps that it runs at once.
    pub max_concurrent: i32,
    /// Its version of Tasker.
    pub version: String,
    /// The host that it runs on.
    pub host: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When its last heartbeat arrived.
    pub last_heartbeat_at: DateTime<Utc>,
    /// The callables of its handlers, sorted. This and the following fields are absent for workers of older releases.
    #[serde(default)]
    pub handlers: Option<Vec<String>>,
    /// How many steps it was running at its last heartbeat.
    #[serde(default)]
    pub running_steps: Option<i32>,
    /// How many attempts have completed since it started.
    #[serde(default)]
    pub completed_steps: Option<i64>,
    /// How many attempts have failed since it started.
    #[serde(default)]
    pub failed_steps: Option<i64>,
    /// How many attempts completed in a second, between its last two heartbeats.
    #[serde(default)]
    pub completed_per_second: Option<f64>,
    /// How many attempts failed in a second, between its last two heartbeats.
    #[serde(default)]
    pub failed_per_second: Option<f64>,
}

/// The response of a worker to `GET /v1/worker/status`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkerStatus {
    /// Its name.
    pub worker_id: String,
    /// The namespaces that it serves.
    pub namespaces: Vec<String>,
    /// What it is doing.
    pub status: WorkerState,
    /// The callables of its handlers, sorted.
    pub handlers: Vec<String>,
    /// The most steps that it runs at once.
    pub max_concurrent: i32,
    /// How many steps it is running now.
    pub running_steps: u64,
    /// How many attempts have completed since it started.
    pub completed_steps: u64,
    /// How many attempts have failed since it started.
    pub failed_steps: u64,
    /// Its version of Tasker.
    pub version: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
}
