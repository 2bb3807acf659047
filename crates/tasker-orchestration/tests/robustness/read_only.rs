//! A database that can be read but not written.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sqlx::{Connection, PgConnection};

use crate::server::{DEADLINE, JSON, Server};

const CREATE: &str = r#"{"namespace":"n","name":"t","context":{}}"#;

async fn set_read_only(server: &Server, on: bool) -> Result<()> {
    let mut connection = PgConnection::connect(&server.postgres.url()).await?;
    let statement = if on {
        "alter system set default_transaction_read_only = on"
    } else {
        "alter system reset default_transaction_read_only"
    };
    if !on {
        sqlx::query("set default_transaction_read_only = off").execute(&mut connection).await?;
    }
    sqlx::query(statement).execute(&mut connection).await?;
    sqlx::query("select pg_reload_conf()").execute(&mut connection).await?;
    Ok(connection.close().await?)
}

#[tokio::test]
async fn writes_are_refused_reads_are_served_and_the_log_says_it_once() -> Result<()> {
    let server = Server::start("", 1_000).await?;
    let task = server.create_task().await?;
    set_read_only(&server, true).await?;
    // PostgreSQL's processes read the new setting soon, but not at once.
    let begun = Instant::now();
    loop {
        let refused = server.post("/v1/tasks", CREATE).await?;
        if refused.status == 503 {
            ensure!(refused.body.contains("/problems/not-writable"), "{refused:?}");
            ensure!(refused.head.contains("retry-after: 1"), "{refused:?}");
            break;
        }
        ensure!(begun.elapsed() < DEADLINE, "{refused:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let template =
        r#"{"name":"u","namespace_name":"n","version":"1.0.0","steps":[{"name":"a","handler":{"callable":"c"}}]}"#;
    for (path, body) in
        [("/v1/tasks", CREATE), ("/v1/templates", template), (&format!("/v1/tasks/{task}/cancel"), "{}")]
    {
        let refused = crate::http::send(server.address, "POST", path, &[JSON], body).await?;
        ensure!(refused.status == 503 && refused.body.contains("read-only"), "{path}: {refused:?}");
    }
    let shown = server.get(&format!("/v1/tasks/{task}")).await?;
    ensure!(shown.status == 200, "{shown:?}");
    for path in ["/health", "/health/ready"] {
        let health = server.get(path).await?;
        ensure!(health.status == 503 && health.body.contains("read-only"), "{path}: {health:?}");
    }
    ensure!(server.get("/health/live").await?.status == 200);
    server.logged_once("the database cannot be written").await?;

    set_read_only(&server, false).await?;
    let begun = Instant::now();
    while server.get("/health/ready").await?.status != 200 {
        ensure!(begun.elapsed() < DEADLINE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.create_task().await?;
    server.wait_for_log("the database can be written again", 1).await?;
    server.logged_once("the database cannot be written").await?;
    Ok(())
}
