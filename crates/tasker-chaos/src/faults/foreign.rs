//! Foreign transactions that stay open.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use crate::field::Field;

/// How long there may be no row to lock: tasks come in bursts.
const FIND_LIMIT: Duration = Duration::from_secs(3);

/// Keeps a snapshot, so that no row version that is dead since then can be removed.
pub(super) async fn hold_snapshot(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let mut connection = PgConnection::connect(field.stack.database_url()).await?;
    sqlx::query("begin isolation level repeatable read").execute(&mut connection).await?;
    // A transaction id of its own holds back more.
    sqlx::query("select pg_current_xact_id()::text, count(*) from tasker.namespaces").execute(&mut connection).await?;
    sleep(Duration::from_millis(rng.u64(1_000..8_000))).await;
    // Fails if PostgreSQL crashed meanwhile.
    let _ = connection.close().await;
    Ok(true)
}

/// Keeps locks on some rows. Whoever needs them must wait.
pub(super) async fn hold_locks(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let mut connection = PgConnection::connect(field.stack.database_url()).await?;
    // Without the engine's order of locks, but it never waits for a lock, so it cannot cause a deadlock.
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
    let deadline = Instant::now() + FIND_LIMIT;
    while sqlx::query(sqlx::AssertSqlSafe(locks.as_str())).fetch_all(&mut connection).await?.is_empty() {
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_millis(rng.u64(200..3_000))).await;
    let _ = connection.close().await;
    Ok(true)
}
