//! Databases that are there but cannot be used: read-only, without a free connection, or on a full disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tasker_engine::Failure;
use tokio::time::sleep;

use super::backends::until_available;
use crate::field::Field;
use crate::plan::Kind;
use crate::recovery;

/// How long a setting may take until PostgreSQL has it.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Far more than PostgreSQL allows.
const MANY: usize = 1_000;
/// How many bytes at most are left on a disk that counts as full.
const ROOM: u64 = 1 << 20;

/// Sets a setting of the server, or resets it, and makes its sessions read it. Tries until it works, because a setting
/// that stays would break everything that follows.
pub(super) async fn set(field: &Field, name: &str, value: Option<&str>) -> Result<()> {
    let statement = match value {
        Some(value) => format!("alter system set {name} = '{value}'"),
        None => format!("alter system reset {name}"),
    };
    let try_once = async || {
        let mut connection = PgConnection::connect(field.stack.database_url()).await?;
        // In case that the setting is this one.
        sqlx::query("set default_transaction_read_only = off").execute(&mut connection).await?;
        sqlx::query(AssertSqlSafe(statement.as_str())).execute(&mut connection).await?;
        sqlx::query("select pg_reload_conf()").execute(&mut connection).await?;
        connection.close().await
    };
    let begun = Instant::now();
    while let Err(error) = try_once().await {
        ensure!(begun.elapsed() < field.ledger.limit(LIMIT), "{statement}: {error}");
        sleep(POLL).await;
    }
    Ok(())
}

/// `default_transaction_read_only` is on for a while, as on a standby.
pub(super) async fn read_only(field: &Arc<Field>, kind: Kind, rng: &mut Rng) -> Result<bool> {
    let back_at = {
        let _postgres = field.stack.postgres.lock().await;
        set(field, "default_transaction_read_only", Some("on")).await?;
        sleep(Duration::from_millis(rng.u64(500..3_000))).await;
        set(field, "default_transaction_read_only", None).await?;
        until_available(field).await?
    };
    recovery::of_postgres(field, kind, back_at).await;
    Ok(true)
}

/// Foreign sessions take every connection that is left, and keep them for a while.
pub(super) async fn exhaust_connections(field: &Arc<Field>, kind: Kind, rng: &mut Rng) -> Result<bool> {
    let mut foreign = Vec::new();
    for _ in 0..MANY {
        match PgConnection::connect(field.stack.database_url()).await {
            Ok(connection) => foreign.push(connection),
            Err(error) if Failure::of(&error) == Failure::Unavailable => break,
            Err(error) => return Err(error.into()),
        }
    }
    sleep(Duration::from_millis(rng.u64(500..3_000))).await;
    drop(foreign);
    let back_at = until_available(field).await?;
    recovery::of_postgres(field, kind, back_at).await;
    Ok(true)
}

/// The disk is full for a while. PostgreSQL refuses writes, and stops if the log of transactions cannot grow.
pub(super) async fn full_disk(field: &Arc<Field>, kind: Kind, rng: &mut Rng) -> Result<bool> {
    let disk = field.stack.disk.as_ref().context("there is no small file system")?;
    let back_at = {
        let mut postgres = field.stack.postgres.lock().await;
        let _outage = field.ledger.outage();
        disk.fill(rng.u64(0..ROOM))?;
        if write_more_than_the_room(field).await.is_ok() {
            disk.free()?;
            bail!("PostgreSQL could write although its disk is full");
        }
        sleep(Duration::from_millis(rng.u64(1_000..5_000))).await;
        disk.free()?;
        // Starts PostgreSQL if it has stopped. It may be about to.
        let (begun, limit) = (Instant::now(), field.ledger.limit(LIMIT));
        loop {
            postgres.resume().await?;
            match field.now().await {
                Ok(now) => break now,
                Err(error) => {
                    ensure!(begun.elapsed() < limit, "PostgreSQL did not come back within {limit:?}: {error}")
                }
            }
            sleep(POLL).await;
        }
    };
    recovery::of_postgres(field, kind, back_at).await;
    Ok(true)
}

async fn write_more_than_the_room(field: &Field) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(field.stack.database_url()).await?;
    // Each row has over 32 bytes.
    let rows = i64::try_from(2 * ROOM / 32).unwrap_or(i64::MAX);
    let write = format!("create temporary table room as select gen_random_uuid() from generate_series(1, {rows})");
    sqlx::query(AssertSqlSafe(write)).execute(&mut connection).await?;
    connection.close().await
}
