//! Clients that keep the server waiting: with half a header, half a body, or nothing at all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::send;
use crate::server::{DEADLINE, KEY, KEY_SETTINGS, Server};

const HALF_A_HEADER: &str = "GET /v1/tasks HTTP/1.1\r\nhost: localhost\r\nx-slow: ";
const HALF_A_BODY: &str = "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\n\
    content-type: application/json\r\ncontent-length: 100\r\n\r\n{\"names";
const KEPT_ALIVE: &str = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Memory that an idle connection may cost, in KiB.
const CONNECTION_KIB: u64 = 20;

async fn connect(server: &Server, bytes: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server.address).await?;
    // The server may close the connection at any moment.
    let _ = stream.write_all(bytes.as_bytes()).await;
    Ok(stream)
}

/// Waits until the server closes the connection, and returns what it sent.
async fn closed(mut stream: TcpStream) -> Result<String> {
    let mut received = Vec::new();
    let read = stream.read_to_end(&mut received);
    // A reset is an end too.
    let _ = tokio::time::timeout(DEADLINE, read).await.context("the connection stays open")?;
    Ok(String::from_utf8_lossy(&received).into_owned())
}

#[tokio::test]
async fn a_thousand_hostile_connections_keep_nobody_out() -> Result<()> {
    let server = Server::start("", 400).await?;
    server.logged_once("ulimit -n").await?;
    // The first requests allocate memory that has nothing to do with connections.
    for _ in 0..20 {
        server.create_task().await?;
    }
    let before = server.memory()?;
    let mut hostile = Vec::new();
    for number in 0..1_000 {
        let bytes = ["", HALF_A_HEADER, HALF_A_BODY, KEPT_ALIVE][number % 4];
        hostile.push(connect(&server, bytes).await?);
        if number % 100 == 99 {
            let begun = Instant::now();
            server.create_task().await?;
            let health = server.get("/health").await?;
            ensure!(health.status == 200, "{health:?}");
            ensure!(begun.elapsed() < Duration::from_secs(2), "two requests took {:?}", begun.elapsed());
        }
    }
    // The limit on open files leaves fewer than 400 connections. A quarter of them is in the middle of a request,
    // which costs more.
    let grown = server.memory()?.saturating_sub(before);
    ensure!(grown < 2 * 400 * CONNECTION_KIB, "400 connections cost {grown} KiB");
    server.logged_once("the limit on connections is reached").await?;
    assert_eq!(server.logged("cannot accept connections"), 0, "{}", server.log());
    drop(hostile);
    server.create_task().await?;
    Ok(())
}

#[tokio::test]
async fn each_idle_connection_costs_little_memory() -> Result<()> {
    let server = Server::start("", 2_000).await?;
    server.create_task().await?;
    let before = server.memory()?;
    let mut idle = Vec::new();
    for _ in 0..800 {
        idle.push(connect(&server, KEPT_ALIVE).await?);
    }
    for stream in &mut idle {
        let mut response = [0; 1024];
        ensure!(stream.read(&mut response).await? > 0, "no response");
    }
    let grown = server.memory()?.saturating_sub(before);
    ensure!(grown < 800 * CONNECTION_KIB, "800 connections cost {grown} KiB");
    Ok(())
}

#[tokio::test]
async fn slow_clients_are_disconnected() -> Result<()> {
    let timeouts = "header_timeout_ms = 300\nbody_timeout_ms = 400\nidle_timeout_ms = 500";
    let server = Server::start(timeouts, 1_000).await?;
    let silent = connect(&server, "").await?;
    let header = connect(&server, HALF_A_HEADER).await?;
    let body = connect(&server, HALF_A_BODY).await?;
    let idle = connect(&server, KEPT_ALIVE).await?;
    // The timeouts apply to the second request of a connection too.
    let second = connect(&server, &format!("{KEPT_ALIVE}{HALF_A_HEADER}")).await?;
    assert_eq!(closed(silent).await?, "");
    assert_eq!(closed(header).await?, "");
    let response = closed(body).await?;
    ensure!(response.starts_with("HTTP/1.1 408 "), "{response}");
    for words in ["connection: close", "body_timeout_ms", "application/problem+json"] {
        ensure!(response.contains(words), "{words} is missing: {response}");
    }
    for stream in [idle, second] {
        let response = closed(stream).await?;
        ensure!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }

    // A trickle of bytes does not extend the time for the headers.
    let mut trickle = connect(&server, HALF_A_HEADER).await?;
    let begun = Instant::now();
    while trickle.write_all(b"x").await.is_ok() {
        ensure!(begun.elapsed() < DEADLINE, "the connection stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // This client never reads its responses, which are larger than all buffers together.
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let deaf = connect(&server, &requests).await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let responses = closed(deaf).await?.matches("HTTP/1.1 200").count();
    ensure!((1..1_000).contains(&responses), "{responses} responses");
    server.create_task().await?;
    Ok(())
}

#[tokio::test]
async fn while_all_connections_are_busy_health_checks_get_through() -> Result<()> {
    let server = Server::start("max_connections = 16\nidle_timeout_ms = 2_000", 1_000).await?;
    let task = server.create_task().await?;
    let poll = format!("GET /v1/tasks/{task}?wait=6s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut polls = Vec::new();
    for _ in 0..16 {
        polls.push(connect(&server, &poll).await?);
    }
    // A poll keeps its connection when the server has read the request. Until then, another request takes the
    // connection over.
    let begun = Instant::now();
    let refused = loop {
        let response = server.get("/v1/tasks").await?;
        if response.status == 503 {
            break response;
        }
        ensure!(begun.elapsed() < DEADLINE, "{response:?}");
        polls.push(connect(&server, &poll).await?);
    };
    ensure!(refused.body.contains("orchestration.max_connections"), "{refused:?}");
    ensure!(refused.head.contains("connection: close"), "{refused:?}");
    for path in ["/health", "/health/live", "/health/ready"] {
        let health = send(server.address, "GET", path, &[], "").await?;
        ensure!(health.status == 200, "{health:?}");
    }
    server.logged_once("only health checks are served").await?;
    let mut answered = 0;
    for poll in polls {
        answered += usize::from(closed(poll).await?.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(answered, 16);
    server.create_task().await?;
    Ok(())
}

#[tokio::test]
async fn requests_that_are_delayed_because_of_wrong_keys_keep_nobody_out() -> Result<()> {
    let server = Server::start(&format!("max_connections = 16\n{KEY_SETTINGS}"), 1_000).await?;
    let guess = "GET /v1/tasks HTTP/1.1\r\nhost: localhost\r\nx-api-key: wrong\r\n\r\n";
    let mut guesses = Vec::new();
    // All from one address, so that most of them are delayed for seconds.
    for number in 0..200 {
        guesses.push(connect(&server, guess).await?);
        if number % 20 == 19 {
            let begun = Instant::now();
            let response = send(server.address, "GET", "/v1/tasks", &[KEY], "").await?;
            ensure!(response.status == 200, "{response:?}");
            ensure!(begun.elapsed() < Duration::from_secs(2), "the request took {:?}", begun.elapsed());
        }
    }
    Ok(())
}
