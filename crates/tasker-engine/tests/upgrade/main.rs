//! Upgrading the databases of released versions, also while programs of the release before use them.
//!
//! `releases/` holds a dump of each released schema with tasks in flight. `release_0_1` calls the database with the SQL of
//! that release.

mod checks;
mod release_0_1;
mod rolling;
#[path = "../support/mod.rs"]
mod support;
mod versions;

use anyhow::Result;
use local_postgres::{LocalPostgres, Options};
use sqlx::PgPool;

const DUMP_0_1: &str = include_str!("releases/0.1.sql");

/// A database as release 0.1 left it.
async fn database_of_0_1() -> Result<LocalPostgres> {
    let postgres =
        LocalPostgres::start(Options { settings: vec![("fsync".to_owned(), "off".to_owned())], ..Options::default() })
            .await?;
    let pool = PgPool::connect(&postgres.url()).await?;
    sqlx::raw_sql(DUMP_0_1).execute(&pool).await?;
    pool.close().await;
    Ok(postgres)
}
