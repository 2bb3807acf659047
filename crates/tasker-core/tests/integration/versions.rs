//! Programs and databases of different versions: a clear message and an exit code.

use std::process::{Command, Output};

use anyhow::{Result, ensure};
use local_postgres::{LocalPostgres, Options};
use sqlx::PgPool;

use crate::support::binary;

/// Runs a program that must not start.
fn run(program: &str, arguments: &[&str], url: &str) -> Result<Output> {
    Ok(Command::new(binary(program)?).args(arguments).env("DATABASE_URL", url).env("RUST_LOG", "warn").output()?)
}

fn check(program: &str, arguments: &[&str], url: &str, code: i32, message: &str) -> Result<()> {
    let output = run(program, arguments, url)?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(code), "{program} {arguments:?}: {:?}: {text}", output.status);
    ensure!(text.contains(message), "{program} {arguments:?}: {text}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_too_old_or_too_new_has_an_exit_code() -> Result<()> {
    let postgres = LocalPostgres::start(Options::default()).await?;
    let url = postgres.url();
    let too_old = "the database is older than this program (schema 0";
    check("tasker-server", &["--port", "0"], &url, 4, too_old)?;
    check("rust-worker", &["--port", "0"], &url, 4, too_old)?;

    let migrated = run("tasker-server", &["migrate"], &url)?;
    ensure!(migrated.status.success(), "{migrated:?}");
    let pool = PgPool::connect(&url).await?;
    sqlx::raw_sql(
        "insert into public._sqlx_migrations (version, description, success, checksum, execution_time)
         values (999, 'of the future', true, '', 0);
         update tasker.installation set oldest_program = 999;",
    )
    .execute(&pool)
    .await?;
    pool.close().await;
    let too_new = "the database is newer than this program (schema 999";
    check("tasker-server", &["--port", "0"], &url, 5, too_new)?;
    check("rust-worker", &["--port", "0"], &url, 5, too_new)?;
    check("tasker-server", &["migrate"], &url, 5, too_new)?;
    check("tasker-cli", &["db", "migrate", "--database-url", &url], &url, 5, too_new)?;
    Ok(())
}
