//! Workers and their heartbeats.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, Type};

use tasker_api::{WorkerState, WorkerSummary};

use crate::Engine;
use crate::statements::statements;

statements! {
    HEARTBEAT = "select tasker.heartbeat($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    LIST_WORKERS = "select *,
            status <> 'stopped' and last_heartbeat_at < tasker.now() - tasker.heartbeat_timeout() as lost
        from tasker.workers
        where ($1::text is null or $1 = any (namespaces)) and worker_id > $2 order by worker_id limit $3";
}

/// The report that a worker sends every few seconds.
#[derive(Debug, Clone)]
pub struct WorkerHeartbeat<'a> {
    /// The worker's id.
    pub worker_id: &'a str,
    /// The namespaces that the worker serves.
    pub namespaces: &'a [String],
    /// The worker's state.
    pub status: WorkerState,
    /// The maximum number of steps that the worker runs at once.
    pub max_concurrent: u32,
    /// The host that the worker runs on.
    pub host: &'a str,
    /// The time at which the worker started.
    pub started_at: DateTime<Utc>,
    /// The callables of its handlers.
    pub handlers: &'a [String],
    /// The number of steps that it is running.
    pub running_steps: u64,
    /// The number of attempts that have completed since it started.
    pub completed_steps: u64,
    /// The number of attempts that have failed since it started.
    pub failed_steps: u64,
}

/// The state that a worker last reported. A worker never reports that it is lost.
#[derive(Debug, Clone, Copy, Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum Status {
    Running,
    Draining,
    Stopped,
}

#[derive(FromRow)]
struct WorkerRow {
    worker_id: String,
    namespaces: Vec<String>,
    status: Status,
    max_concurrent: i32,
    version: String,
    host: String,
    started_at: DateTime<Utc>,
    last_heartbeat_at: DateTime<Utc>,
    handlers: Option<Vec<String>>,
    running_steps: Option<i32>,
    completed_steps: Option<i64>,
    failed_steps: Option<i64>,
    completed_per_second: Option<f64>,
    failed_per_second: Option<f64>,
    lost: bool,
}

impl Engine {
    /// Records a heartbeat. Deletes workers that have sent none for a day.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn heartbeat(&self, heartbeat: &WorkerHeartbeat<'_>) -> sqlx::Result<()> {
        sqlx::query(HEARTBEAT)
            .bind(heartbeat.worker_id)
            .bind(heartbeat.namespaces)
            .bind(heartbeat.status.as_str())
            .bind(i32::try_from(heartbeat.max_concurrent).unwrap_or(i32::MAX))
            .bind(tasker_api::VERSION)
            .bind(heartbeat.host)
            .bind(heartbeat.started_at)
            .bind(heartbeat.handlers)
            .bind(i32::try_from(heartbeat.running_steps).unwrap_or(i32::MAX))
            .bind(i64::try_from(heartbeat.completed_steps).unwrap_or(i64::MAX))
            .bind(i64::try_from(heartbeat.failed_steps).unwrap_or(i64::MAX))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Lists the workers of one namespace, or all, ordered by id: those after the worker `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_workers(
        &self,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> sqlx::Result<Vec<WorkerSummary>> {
        let rows: Vec<WorkerRow> = sqlx::query_as(LIST_WORKERS)
            .bind(namespace)
            // Every id has a character.
            .bind(after.unwrap_or_default())
            .bind(limit.map(i64::from))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(WorkerSummary::from).collect())
    }
}

impl From<WorkerRow> for WorkerSummary {
    fn from(row: WorkerRow) -> Self {
        let status = match row.status {
            _ if row.lost => WorkerState::Lost,
            Status::Running => WorkerState::Running,
            Status::Draining => WorkerState::Draining,
            Status::Stopped => WorkerState::Stopped,
        };
        Self {
            worker_id: row.worker_id,
            namespaces: row.namespaces,
            status,
            max_concurrent: row.max_concurrent,
            version: row.version,
            host: row.host,
            started_at: row.started_at,
            last_heartbeat_at: row.last_heartbeat_at,
            handlers: row.handlers,
            running_steps: row.running_steps,
            completed_steps: row.completed_steps,
            failed_steps: row.failed_steps,
            completed_per_second: row.completed_per_second,
            failed_per_second: row.failed_per_second,
        }
    }
}
