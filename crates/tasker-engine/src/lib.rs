//! The workflow engine: the schema of the database, its SQL functions, and their typed calls.
//!
//! The state machine of tasks and steps is a set of SQL functions. Each call is one transaction over a whole batch.
//! This crate only converts arguments and rows. `functions/01_overview.sql` describes the life of a task.
//!
//! - [`database`] connects to PostgreSQL.
//! - [`migrate()`] creates and upgrades the schema.
//! - [`Engine`] has one method for each call.
//!
//! No other crate contains SQL on the engine's tables. The only exception is the checker of invariants in
//! `tasker-chaos`, which must not trust the engine.

mod arguments;
mod bulk;
mod cron;
pub mod database;
mod dead_letters;
mod failure;
mod gates;
mod message;
mod observe;
mod operate;
mod queues;
mod retention;
mod schedules;
mod schema;
mod signals;
mod statements;
mod steps;
mod system;
mod tasks;
mod templates;
mod traces;
mod workers;

pub use bulk::{NewBulkJob, StoredBulkJob};
pub use cron::{Cron, CronError};
pub use failure::Failure;
pub use gates::{GateOutcome, GateWait};
pub use message::message;
pub use observe::{GroupFacts, QueueFacts, StepFacts, StepWait, WatchedStep, WatchedTask};
pub use operate::{Operation, OperationOutcome};
pub use retention::DeletedTasks;
pub use schedules::{FiredOutcome, FiredSchedule, PutOutcome};
pub use schema::{MigrateError, migrate, schema_version};
pub use signals::{NewSignal, SignalOutcome};
pub use steps::{ClaimedStep, Completion, StepOutcome, StepRef, StepResult, Wait};
pub use tasks::{CreateOutcome, NewTask, Rerun, TaskFilter, TaskPage};
pub use templates::{ApplyOutcome, StoredTemplate};
pub use traces::{TraceRecorder, TracedTask};
pub use workers::WorkerHeartbeat;

use sqlx::PgPool;

/// Calls the SQL functions of the engine through a pool of connections.
#[derive(Debug, Clone)]
pub struct Engine {
    pool: PgPool,
}

impl Engine {
    /// Creates an engine on a migrated database. The pool should come from [`database::connect`] or
    /// [`database::pool_options`]. Other pools work, but the planner then chooses slow plans.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The pool. Callers use it to listen for notifications, and close it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}
