//! Databases, and requests as bytes, so that the headers are exactly those of the tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use local_postgres::{LocalPostgres, Options};
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// A response.
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

/// A loopback address that no other request comes from: the server slows down addresses whose requests keep failing.
fn new_source() -> IpAddr {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let base = Ipv4Addr::new(127, 1, 0, 0).to_bits();
    IpAddr::V4(Ipv4Addr::from_bits(base + 1 + LAST.fetch_add(1, Ordering::Relaxed)))
}

/// Sends a request with these headers and returns the response.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    send_from(new_source(), address, method, path, headers, body).await
}

/// Sends a request from this source address.
pub(crate) async fn send_from(
    source: IpAddr,
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
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        let mut stream = socket.connect(address).await?;
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
