//! A server whose database is a hot standby.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sqlx::{Connection, PgConnection};

use crate::server::{DEADLINE, Server};

#[tokio::test]
async fn a_server_on_a_standby_is_not_ready_until_it_is_promoted() -> Result<()> {
    let primary = Server::start("", 1_000).await?;
    let task = primary.create_task().await?;
    let server = Server::start_on(primary.postgres.standby(None).await?, "", 1_000).await?;

    let shown = server.get(&format!("/v1/tasks/{task}")).await?;
    ensure!(shown.status == 200, "{shown:?}");
    for path in ["/health", "/health/ready"] {
        let health = server.get(path).await?;
        ensure!(health.status == 503 && health.body.contains("the database is read-only: a standby"), "{health:?}");
    }
    let refused = server.post("/v1/tasks", r#"{"namespace":"n","name":"t","context":{}}"#).await?;
    ensure!(refused.status == 503 && refused.body.contains("/problems/not-writable"), "{refused:?}");
    server.logged_once("the database cannot be written").await?;

    let mut connection = PgConnection::connect(&server.postgres.url()).await?;
    sqlx::query("select pg_promote()").execute(&mut connection).await?;
    connection.close().await?;
    let begun = Instant::now();
    while server.get("/health/ready").await?.status != 200 {
        ensure!(begun.elapsed() < DEADLINE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.create_task().await?;
    server.logged_once("the database can be written again").await?;
    Ok(())
}
