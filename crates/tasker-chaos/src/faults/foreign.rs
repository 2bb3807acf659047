//! Transactions of somebody else, left open.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use crate::field::Field;

/// A snapshot, so that no row that is deleted or changed meanwhile can be removed.
pub(super) async fn hold_snapshot(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let mut connection = PgConnection::connect(field.stack.database_url()).await?;
    sqlx::query("begin isolation level repeatable read").execute(&mut connection).await?;
    // Its own transaction id makes it hold back more.
    sqlx::query("select pg_current_xact_id()::text, count(*) from tasker.namespaces").execute(&mut connection).await?;
    sleep(Duration::from_millis(rng.u64(1_000..8_000))).await;
    // A crash of PostgreSQL may have ended it before.
    let _ = connection.close().await;
    Ok(true)
}

/// Locks on some of our rows. Those who need them have to wait.
pub(super) async fn hold_locks(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let mut connection = PgConnection::connect(field.stack.database_url()).await?;
    // Somebody else knows nothing of our order of locks, but also waits for nobody.
    let of_open_tasks = "select t.task_id from tasker.tasks t where t.state in ('pending', 'in_progress')";
    let locks = match rng.u8(0..3) {
        0 => format!(
            "select task_id from tasker.tasks where task_id in ({of_open_tasks} order by random() limit 3)
             for update skip locked"
        ),
        1 => format!(
            "select task_id from tasker.steps where task_id in ({of_open_tasks} order by random() limit 3)
             for update skip locked"
        ),
        _ => {
            let queue: String = sqlx::query_scalar(
                "select format('pgmq.%I', 'q_' || queue) from tasker.namespaces where namespace = 'faults'",
            )
            .fetch_one(&mut connection)
            .await?;
            format!("select msg_id from {queue} order by random() limit 20 for update skip locked")
        }
    };
    sqlx::query("begin").execute(&mut connection).await?;
    let locked = sqlx::query(sqlx::AssertSqlSafe(locks)).fetch_all(&mut connection).await?;
    if locked.is_empty() {
        return Ok(false);
    }
    sleep(Duration::from_millis(rng.u64(200..3_000))).await;
    let _ = connection.close().await;
    Ok(true)
}
