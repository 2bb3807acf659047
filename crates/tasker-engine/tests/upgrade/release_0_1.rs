//! The calls of release 0.1, with the very SQL that its programs prepare.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::postgres::{PgPoolOptions, types::PgInterval};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

/// A pool as the programs of 0.1 make it: it sets nothing.
pub(crate) async fn pool(url: &str) -> Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(2).connect(url).await?)
}

fn interval(duration: Duration) -> Result<PgInterval> {
    Ok(PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros())? })
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct Step {
    pub(crate) refused: bool,
    pub(crate) task_id: Uuid,
    pub(crate) step_no: i16,
    pub(crate) token: Uuid,
    pub(crate) msg_id: i64,
    pub(crate) namespace: String,
}

pub(crate) async fn create_task(pool: &PgPool, task_id: Uuid, key: &str) -> Result<String> {
    let rows: Vec<(Uuid, String, DateTime<Utc>)> = sqlx::query_as(
        "select task_id, outcome, created_at from tasker.create_tasks($1, $2, $3, $4, $5, $6, $7, $8) order by ordinal",
    )
    .bind(vec![task_id])
    .bind(vec![1_i64])
    .bind(vec![false])
    .bind(vec![json!({})])
    .bind(vec![0_i16])
    .bind(vec![None::<Value>])
    .bind(vec![Some(key)])
    .bind(vec![Some(key.as_bytes())])
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|(_, outcome, _)| outcome).collect())
}

pub(crate) async fn start_steps(pool: &PgPool, worker_id: &str, limit: i32, lease: Duration) -> Result<Vec<Step>> {
    Ok(sqlx::query_as("select * from tasker.start_steps($1, $2, $3, $4, $5)")
        .bind(worker_id)
        .bind(vec!["upgrade".to_owned()])
        .bind(limit)
        .bind(interval(lease)?)
        .bind(vec![None::<PgInterval>])
        .fetch_all(pool)
        .await?)
}

/// Sends results, and returns the rows of the answer: results that were refused, and steps that were handed over.
pub(crate) async fn complete_steps(
    pool: &PgPool,
    worker_id: &str,
    lease: Duration,
    results: &[(Step, &str, Value)],
) -> Result<Vec<Step>> {
    let steps = || results.iter().map(|(step, ..)| step);
    Ok(sqlx::query_as("select * from tasker.complete_steps($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
        .bind(worker_id)
        .bind(vec!["upgrade".to_owned()])
        .bind(1)
        .bind(interval(lease)?)
        .bind(steps().map(|step| step.namespace.clone()).collect::<Vec<_>>())
        .bind(steps().map(|step| step.msg_id).collect::<Vec<_>>())
        .bind(steps().map(|step| step.task_id).collect::<Vec<_>>())
        .bind(steps().map(|step| step.step_no).collect::<Vec<_>>())
        .bind(steps().map(|step| step.token).collect::<Vec<_>>())
        .bind(results.iter().map(|(_, outcome, _)| *outcome).collect::<Vec<_>>())
        .bind(results.iter().map(|(.., payload)| payload).collect::<Vec<_>>())
        .fetch_all(pool)
        .await?)
}

/// Returns how many of the leases were extended.
pub(crate) async fn extend_leases(pool: &PgPool, lease: Duration, steps: &[Step]) -> Result<usize> {
    let held: Vec<(Uuid, i16)> =
        sqlx::query_as("select task_id, step_no from tasker.extend_leases($1, $2, $3, $4, $5, $6)")
            .bind(interval(lease)?)
            .bind(steps.iter().map(|step| step.namespace.clone()).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.msg_id).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.task_id).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.step_no).collect::<Vec<_>>())
            .bind(steps.iter().map(|step| step.token).collect::<Vec<_>>())
            .fetch_all(pool)
            .await?;
    Ok(held.len())
}

/// The other calls of a worker and a server of 0.1, to see that they still work.
pub(crate) async fn other_calls(pool: &PgPool, worker_id: &str) -> Result<()> {
    sqlx::query("select tasker.heartbeat($1, $2, $3, $4, $5, $6, $7)")
        .bind(worker_id)
        .bind(vec!["upgrade".to_owned()])
        .bind("running")
        .bind(10)
        .bind("0.1.0")
        .bind("host")
        .bind(Utc::now())
        .execute(pool)
        .await?;
    sqlx::query("select tasker.ensure_namespace($1)").bind("upgrade").execute(pool).await?;
    let _: Vec<(String, f64)> =
        sqlx::query_as("select namespace, extract(epoch from due)::float8 from tasker.next_due($1)")
            .bind(vec!["upgrade".to_owned()])
            .fetch_all(pool)
            .await?;
    sqlx::query("select * from tasker.list_tasks($1, $2::tasker.state[], $3, $4)")
        .bind("upgrade")
        .bind(vec!["pending"])
        .bind(None::<Uuid>)
        .bind(10_i64)
        .fetch_all(pool)
        .await?;
    sqlx::query("select * from tasker.delete_finished_tasks($1, $2, $3, $4)")
        .bind("upgrade")
        .bind(interval(Duration::from_secs(365 * 24 * 3600))?)
        .bind(None::<Uuid>)
        .bind(10)
        .fetch_all(pool)
        .await?;
    // The check of 0.1 at its start.
    let version: i64 =
        sqlx::query_scalar("select coalesce(max(version), 0) from public._sqlx_migrations where success")
            .fetch_one(pool)
            .await?;
    anyhow::ensure!(version >= 12, "a program of 0.1 would refuse schema {version}");
    Ok(())
}
