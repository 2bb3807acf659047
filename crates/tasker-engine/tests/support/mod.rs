//! Helpers that the test targets share.

use anyhow::Result;
use local_postgres::{LocalPostgres, Options};
use sqlx::postgres::PgPoolOptions;

/// Starts a private, migrated database. Dropping it stops the server. It runs with `fsync` off, because no test here
/// crashes the server.
pub(crate) async fn database() -> Result<LocalPostgres> {
    let postgres =
        LocalPostgres::start(Options { settings: vec![("fsync".to_owned(), "off".to_owned())], ..Options::default() })
            .await?;
    let pool = PgPoolOptions::new().connect(&postgres.url()).await?;
    tasker_engine::migrate(&pool).await?;
    pool.close().await;
    Ok(postgres)
}
