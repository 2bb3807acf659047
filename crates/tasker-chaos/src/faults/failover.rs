//! The primary is lost, a standby takes its place, and the address of the database leads to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fastrand::Rng;
use local_postgres::{LocalPostgres, StopMode};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use super::availability::set;
use super::backends::until_available;
use crate::field::Field;
use crate::plan::Kind;
use crate::recovery;

const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Makes a standby, lets every commit wait for it, crashes the primary, and promotes the standby.
pub(super) async fn fail_over(field: &Arc<Field>, kind: Kind, rng: &mut Rng) -> Result<bool> {
    let back_at = {
        let mut primary = field.stack.postgres.lock().await;
        let mut standby = primary.standby(field.stack.next_data_dir()).await?;
        // From here on, what a client is told must be on the standby.
        set(field, "synchronous_standby_names", Some("*")).await?;
        if let Err(error) = until_in_step(&primary, field.ledger.limit(LIMIT)).await {
            set(field, "synchronous_standby_names", None).await?;
            return Err(error);
        }
        sleep(Duration::from_millis(rng.u64(0..2_000))).await;
        let _outage = field.ledger.outage();
        primary.interrupt(StopMode::Immediate).await?;
        sleep(Duration::from_millis(rng.u64(0..1_000))).await;
        let mut promoted = PgConnection::connect(&standby.url()).await?;
        ensure!(
            sqlx::query_scalar::<_, bool>("select pg_promote()").fetch_one(&mut promoted).await?,
            "the standby was not promoted within a minute"
        );
        promoted.close().await?;
        std::mem::swap(&mut *primary, &mut standby);
        field.stack.gate.lead_to(primary.port());
        // What was the primary. Its data is of no more use.
        let data = standby.data_dir().to_owned();
        standby.stop(StopMode::Immediate).await?;
        match std::fs::remove_dir_all(data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => until_available(field).await?,
        }
    };
    recovery::of_postgres(field, kind, back_at).await;
    Ok(true)
}

/// Waits until commits wait for the standby, and the standby has all that was committed before.
async fn until_in_step(primary: &LocalPostgres, limit: Duration) -> Result<()> {
    let mut connection = PgConnection::connect(&primary.url()).await?;
    let begun = Instant::now();
    let mut committed: Option<String> = None;
    loop {
        let in_step: bool = sqlx::query_scalar(
            "select coalesce(bool_or(sync_state = 'sync' and flush_lsn >= $1::pg_lsn), false) from pg_stat_replication",
        )
        .bind(committed.as_deref().unwrap_or("0/0"))
        .fetch_one(&mut connection)
        .await?;
        match &committed {
            Some(_) if in_step => break,
            // Later commits wait for the standby.
            None if in_step => {
                let now = sqlx::query_scalar("select pg_current_wal_insert_lsn()::text");
                committed = Some(now.fetch_one(&mut connection).await?);
            }
            _ => {
                ensure!(begun.elapsed() < limit, "the standby was not in step within {limit:?}");
                sleep(POLL).await;
            }
        }
    }
    Ok(connection.close().await?)
}
