//! Faults of PostgreSQL: a killed session, after which it restarts all sessions, and a crash of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use fastrand::Rng;
use local_postgres::StopMode;
use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use crate::field::Field;
use crate::plan::Kind;
use crate::{process, recovery};

/// How long PostgreSQL may take to notice a killed session, and to be available again.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// SIGKILL of a session of a worker or a server.
pub(super) async fn kill(field: &Arc<Field>, kind: Kind, rng: &mut Rng) -> Result<bool> {
    let limit = field.ledger.limit(LIMIT);
    let back_at = {
        let _postgres = field.stack.postgres.lock().await;
        let mut witness = PgConnection::connect(field.stack.database_url()).await?;
        let pids: Vec<i32> = sqlx::query_scalar(
            "select pid from pg_stat_activity where application_name in ('rust-worker', 'tasker-server') order by pid",
        )
        .fetch_all(&mut witness)
        .await?;
        let Some(pid) = rng.choice(pids) else { return Ok(false) };
        let _outage = field.ledger.outage();
        process::send(pid, Signal::SIGKILL)?;
        let begun = Instant::now();
        while sqlx::query("select 1").execute(&mut witness).await.is_ok() {
            ensure!(begun.elapsed() < limit, "PostgreSQL did not notice a killed session within {limit:?}");
            sleep(POLL).await;
        }
        until_available(field).await?
    };
    recovery::of_postgres(field, kind, back_at).await;
    Ok(true)
}

/// Immediate shutdown of PostgreSQL, then a start.
pub(super) async fn crash(field: &Arc<Field>, kind: Kind, rng: &mut Rng) -> Result<bool> {
    let back_at = {
        let mut postgres = field.stack.postgres.lock().await;
        let _outage = field.ledger.outage();
        postgres.interrupt(StopMode::Immediate).await?;
        sleep(Duration::from_millis(rng.u64(0..1_500))).await;
        postgres.resume().await?;
        until_available(field).await?
    };
    recovery::of_postgres(field, kind, back_at).await;
    Ok(true)
}

/// Waits until PostgreSQL responds, and returns its time.
pub(super) async fn until_available(field: &Field) -> Result<DateTime<Utc>> {
    let (begun, limit) = (Instant::now(), field.ledger.limit(LIMIT));
    loop {
        match field.now().await {
            Ok(now) => return Ok(now),
            Err(error) => ensure!(begun.elapsed() < limit, "PostgreSQL did not come back within {limit:?}: {error}"),
        }
        sleep(POLL).await;
    }
}
