//! Requests as bytes, so that headers are exactly what the tests say, and servers to send them to.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use local_postgres::{LocalPostgres, Options};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, as they were sent.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {self:?}"))
    }
}

/// Sends a request with these headers and waits for the answer.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8(answer)?)
    };
    let text = tokio::time::timeout(Duration::from_secs(20), exchange).await.context("no answer")??;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no head in {text:?}"))?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A migrated database.
pub(crate) async fn database() -> Result<LocalPostgres> {
    let fsync_off = vec![("fsync".to_owned(), "off".to_owned())];
    let postgres = LocalPostgres::start(Options { settings: fsync_off, ..Options::default() }).await?;
    let pool = PgPoolOptions::new().max_connections(2).connect(&postgres.url()).await?;
    tasker_engine::migrate(&pool).await?;
    pool.close().await;
    Ok(postgres)
}
