//! The memory of request bodies, over all connections.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::server::{DEADLINE, Server};

#[tokio::test]
async fn large_bodies_share_a_limited_memory_and_small_ones_get_through() -> Result<()> {
    let server = Server::start("max_bodies_bytes = 1_048_576", 1_000).await?;
    let large = format!(r#"{{"namespace":"n","name":"t","context":{{"a":"{}"}}}}"#, "x".repeat(700_000));
    ensure!(server.post("/v1/tasks", &large).await?.status == 201);

    // This client does not send the end of its body.
    let head = "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let unfinished = format!("{head}content-length: {}\r\n\r\n{}", large.len(), &large[..600_000]);
    let mut slow = begin(&server, &unfinished).await?;
    let begun = Instant::now();
    let refused = loop {
        let response = server.post("/v1/tasks", &large).await?;
        if response.status == 503 {
            break response;
        }
        ensure!(response.status == 201 && begun.elapsed() < DEADLINE, "{response:?}");
        // The server has not read the slow client's body yet, or this request took the memory first and the server
        // refused the slow client.
        if slow.try_read(&mut [0; 1024]).is_ok() {
            slow = begin(&server, &unfinished).await?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    ensure!(refused.body.contains("orchestration.max_bodies_bytes"), "{refused:?}");
    ensure!(refused.head.contains("retry-after: 1"), "{refused:?}");
    server.create_task().await?;

    drop(slow);
    let begun = Instant::now();
    while server.post("/v1/tasks", &large).await?.status != 201 {
        ensure!(begun.elapsed() < DEADLINE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A connection on which a part of a request was sent.
async fn begin(server: &Server, part: &str) -> Result<TcpStream> {
    let mut client = TcpStream::connect(server.address).await?;
    client.write_all(part.as_bytes()).await?;
    Ok(client)
}
