//! The classes of errors that only a real PostgreSQL makes.

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};
use tasker_engine::Failure;

use crate::support::database;

#[tokio::test]
async fn an_error_that_ends_the_session_means_that_the_database_is_unavailable() -> Result<()> {
    let postgres = database().await?;
    // PostgreSQL refuses the session with FATAL, as it does while its disk is full.
    let wrong = postgres.url().replace("tasker:", "tasker:not");
    let refused = PgConnection::connect(&wrong).await.err().context("a wrong password was accepted")?;
    assert_eq!(Failure::of(&refused), Failure::Unavailable, "{refused}");

    let mut connection = PgConnection::connect(&postgres.url()).await?;
    let bug = sqlx::query("select no_such_column").execute(&mut connection).await.err().context("no error")?;
    assert_eq!(Failure::of(&bug), Failure::Bug, "{bug}");
    Ok(connection.close().await?)
}
