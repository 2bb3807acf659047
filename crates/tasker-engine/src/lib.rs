//! The engine: the SQL functions of schema `tasker` as Rust methods. Each call is one transaction.
//!
//! The database decides everything; this module only carries arguments and rows. See `migrations/0001_schema.sql` for the
//! life of a task.

pub mod database;
mod failure;
mod housekeeping;
mod message;
mod migrate;
mod operate;
mod steps;
mod system;
mod tasks;
mod templates;
mod workers;

pub use failure::Failure;
pub use housekeeping::DeletedTasks;
pub use message::message;
pub use migrate::{MigrateError, migrate};
pub use operate::{Operation, OperationOutcome};
pub use steps::{ClaimedStep, Completion, StepOutcome, StepRef, StepResult};
pub use tasks::{CreateOutcome, NewTask, TaskFilter};
pub use templates::{ApplyOutcome, StoredTemplate};
pub use workers::WorkerHeartbeat;

use sqlx::PgPool;

/// Calls the engine's SQL functions through a pool of connections.
#[derive(Debug, Clone)]
pub struct Engine {
    pool: PgPool,
}

impl Engine {
    /// An engine on the database that the pool is connected to. Its schema must be migrated.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The pool, for what is not the engine's business.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}
