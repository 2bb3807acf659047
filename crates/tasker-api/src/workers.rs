//! Workers, as the server lists them and as they speak of themselves.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It takes steps.
    Running,
    /// It finishes its steps and takes no more.
    Draining,
    /// It has ended in order.
    Stopped,
    /// Its heartbeats have stopped without a word.
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

/// `GET /v1/workers`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkerList {
    /// Workers of which a heartbeat is known, by id.
    pub workers: Vec<WorkerSummary>,
}

/// A worker as the database knows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkerSummary {
    /// Its name, unique among running workers.
    pub worker_id: String,
    /// The namespaces that it serves.
    pub namespaces: Vec<String>,
    /// What it is doing.
    pub status: WorkerState,
    /// How many steps it runs at once, at most.
    pub max_concurrent: i32,
    /// Its version of Tasker.
    pub version: String,
    /// The host that it runs on.
    pub host: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_heartbeat_at: DateTime<Utc>,
}

/// `GET /v1/worker/status`: a worker speaks of itself.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkerStatus {
    /// Its name.
    pub worker_id: String,
    /// The namespaces that it serves.
    pub namespaces: Vec<String>,
    /// What it is doing.
    pub status: WorkerState,
    /// The callable names of its handlers, sorted.
    pub handlers: Vec<String>,
    /// How many steps it runs at once, at most.
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
