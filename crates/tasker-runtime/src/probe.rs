//! Asking a process on this machine whether it is healthy: what the `health` commands of the binaries do, so that an image needs no
//! other program for its health check.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a process is not taken for healthy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Nobody answered.
    #[error("no answer from http://{address}/health: {source}")]
    Silent {
        /// Who was asked.
        address: SocketAddr,
        /// What happened.
        source: std::io::Error,
    },
    /// It says that it is not.
    #[error("http://{address}/health says: {answer}")]
    Unhealthy {
        /// Who was asked.
        address: SocketAddr,
        /// The status line of the answer.
        answer: String,
    },
}

/// Asks `GET /health` of a port of this machine.
///
/// # Errors
/// When nobody answers within three seconds, or with anything but 200.
pub async fn healthy(port: u16) -> Result<(), ProbeError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answer = tokio::time::timeout(TIMEOUT, status_line(address))
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|source| ProbeError::Silent { address, source })?;
    if answer.split(' ').nth(1) == Some("200") { Ok(()) } else { Err(ProbeError::Unhealthy { address, answer }) }
}

async fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
