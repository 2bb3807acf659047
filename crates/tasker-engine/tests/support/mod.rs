//! What the test targets share.

use anyhow::Result;
use local_postgres::{LocalPostgres, Options};
use sqlx::postgres::PgPoolOptions;

/// A migrated database of its own, which ends with the value. It does not wait for the disk: no test here stops the server.
pub(crate) async fn database() -> Result<LocalPostgres> {
    let postgres =
        LocalPostgres::start(Options { settings: vec![("fsync".to_owned(), "off".to_owned())], ..Options::default() })
            .await?;
    let migrating = PgPoolOptions::new().connect(&postgres.url()).await?;
    tasker_engine::migrate(&migrating).await?;
    migrating.close().await;
    Ok(postgres)
}
