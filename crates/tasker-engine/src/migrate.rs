//! Bringing a database up to the schema of this version.

use crate::database::MIGRATOR;
use crate::message::{message, migration_message};
use sqlx::PgPool;

/// Why a database could not be migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// PGMQ could not be installed.
    #[error("installing PGMQ: {0}")]
    Pgmq(#[from] pgmq_notify::InstallError),
    /// A migration failed, or the database has migrations that this program does not know.
    #[error("migrating schema `tasker`: {}", migration_message(.0))]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A query failed.
    #[error("{}", message(.0))]
    Sql(#[from] sqlx::Error),
}

/// Installs PGMQ and applies the migrations that the database lacks. Safe to call at any time and from several processes at once:
/// they take turns.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    // A connection of its own: closing it ends the turn, whatever way this function ends.
    let mut turn = pool.acquire().await?.detach();
    sqlx::query("select pg_advisory_lock(hashtext('tasker.migrate'))").execute(&mut turn).await?;
    let installation = pgmq_notify::install(pool).await?;
    MIGRATOR.run(pool).await?;
    tracing::info!(pgmq = ?installation, "the database is migrated");
    Ok(())
}
