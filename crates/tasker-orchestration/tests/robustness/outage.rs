//! A database that does not respond.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use local_postgres::StopMode;

use crate::server::{DEADLINE, Server};

#[tokio::test]
async fn an_outage_of_the_database_is_logged_once_and_so_is_its_end() -> Result<()> {
    let mut server = Server::start("", 1_000).await?;
    let task = server.create_task().await?;
    let path = format!("/v1/tasks/{task}");
    server.postgres.interrupt(StopMode::Immediate).await?;
    let (first, second, third) = tokio::join!(
        server.get(&path),
        server.get("/v1/workers"),
        server.post("/v1/tasks", r#"{"namespace":"n","name":"t","context":{}}"#)
    );
    for response in [first?, second?, third?] {
        ensure!(response.status == 503 && response.head.contains("retry-after: 1"), "{response:?}");
    }
    server.logged_once("the database does not respond").await?;

    server.postgres.resume().await?;
    let begun = Instant::now();
    while server.logged("the database responds again") == 0 {
        ensure!(begun.elapsed() < DEADLINE, "{}", server.log());
        server.get(&path).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.create_task().await?;
    for words in ["the database does not respond", "the database responds again"] {
        server.logged_once(words).await?;
    }
    Ok(())
}
