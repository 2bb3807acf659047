//! What the system is doing, in numbers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Gate, TaskState};

/// The response to `GET /v1/stats`. The server keeps it for two seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// When it was read.
    pub at: DateTime<Utc>,
    /// How many tasks each namespace has in each state. Combinations without tasks are left out.
    pub tasks: Vec<TaskCount>,
    /// The queue of each namespace.
    pub queues: Vec<QueueDepth>,
    /// The workers together. For a caller that is bound to namespaces: those that serve no other namespace.
    pub workers: WorkerTotals,
    /// Callables that open tasks need and that no live worker of their namespace has.
    pub unserved: Vec<UnservedHandler>,
    /// The gates, and how many steps hold slots or wait.
    #[serde(default)]
    pub gates: Vec<Gate>,
    /// The namespaces that are paused: none of their steps start.
    #[serde(default)]
    pub paused: Vec<String>,
    /// Counts stop at this number. A count that reaches it means "at least".
    pub count_limit: i64,
}

/// The number of tasks in a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskCount {
    /// The namespace.
    pub namespace: String,
    /// The state.
    pub status: TaskState,
    /// How many tasks there are, up to `count_limit`.
    pub count: i64,
}

/// The queue of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueDepth {
    /// The namespace.
    pub namespace: String,
    /// How many steps wait for a worker, up to `count_limit`.
    pub ready: i64,
    /// How many steps run or wait for their next attempt, up to `count_limit`.
    pub hidden: i64,
    /// How long the ready step that has waited longest has been waiting, in seconds. Absent if no step is ready.
    pub oldest_ready_seconds: Option<f64>,
}

/// Workers together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerTotals {
    /// How many workers start steps.
    pub running: u32,
    /// How many workers finish their steps and start no more.
    pub draining: u32,
    /// How many workers have stopped sending heartbeats without a shutdown.
    pub lost: u32,
    /// How many steps run, as the running and draining workers reported.
    pub running_steps: i64,
    /// The most steps that the running workers run at once.
    pub max_concurrent: i64,
    /// How many attempts complete in a second.
    pub completed_per_second: f64,
    /// How many attempts fail in a second.
    pub failed_per_second: f64,
}

/// A handler that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnservedHandler {
    /// The namespace.
    pub namespace: String,
    /// The callable.
    pub callable: String,
    /// The templates that need it.
    pub templates: Vec<String>,
    /// How many open tasks these templates have, among the newest 1,000 of each state.
    pub open_tasks: i64,
}
