//! What one task of three steps costs, if nothing else runs.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tasker_api::TaskState;
use tasker_client::{OrchestrationApiClient, OrchestrationClient};

use super::{LIMIT, noop};
use crate::failure::Failure;

/// The latency of tasks, and its parts, in milliseconds.
#[derive(Default)]
pub(super) struct Latency {
    pub(super) total: Vec<f64>,
    pub(super) create: Vec<f64>,
    pub(super) claim: Vec<f64>,
    pub(super) complete: Vec<f64>,
    pub(super) wait: Vec<f64>,
}

/// Times tasks of three steps, one at a time. The database has the same clock, because it is on this machine.
pub(super) async fn latencies(api: &OrchestrationClient, samples: u32) -> Result<Latency, Failure> {
    let mut latency = Latency::default();
    for _ in 0..samples {
        let begun = Utc::now();
        let task = api.create_task_and_wait(&noop("sequential_noop"), LIMIT).await?;
        let ended = Utc::now();
        let summary = &task.summary;
        let started = task.steps.iter().filter_map(|step| step.started_at).min();
        let (TaskState::Completed, Some(started), Some(completed)) = (summary.status, started, summary.completed_at)
        else {
            return Err(Failure::failed(format!("task {} is {}", summary.task_uuid, summary.status)));
        };
        let between = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64() * 1e3;
        latency.total.push(between(begun, ended));
        latency.create.push(between(begun, summary.created_at));
        latency.claim.push(between(summary.created_at, started));
        latency.complete.push(between(started, completed));
        latency.wait.push(between(completed, ended));
    }
    Ok(latency)
}

/// What the database has written so far.
pub(super) struct Costs {
    pub(super) wal_bytes: f64,
    pub(super) transactions: f64,
}

impl Costs {
    pub(super) async fn read(session: &mut PgConnection) -> Result<Self, Failure> {
        // Ids of transactions, because the sessions report their statistics late.
        let (wal_bytes, transactions) = sqlx::query_as(
            "select (pg_current_wal_insert_lsn() - '0/0')::float8,
                    pg_snapshot_xmax(pg_current_snapshot())::text::float8",
        )
        .fetch_one(session)
        .await
        .map_err(|error| Failure::failed(tasker_engine::message(&error)))?;
        Ok(Self { wal_bytes, transactions })
    }

    /// The costs of each of `tasks` tasks. Includes the heartbeats meanwhile.
    pub(super) fn until(&self, after: &Self, tasks: u32) -> Self {
        let each = |before: f64, after: f64| (after - before) / f64::from(tasks);
        Self {
            wal_bytes: each(self.wal_bytes, after.wal_bytes),
            transactions: each(self.transactions, after.transactions),
        }
    }
}
