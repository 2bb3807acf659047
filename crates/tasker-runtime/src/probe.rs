//! The `health` commands of the binaries: they ask a process on this machine whether it is healthy. So a container
//! image needs no other program for its health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a process does not count as healthy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// There was no response.
    #[error("no response from http://{address}/health: {source}")]
    NoResponse {
        /// The address that was asked.
        address: SocketAddr,
        /// What happened.
        source: std::io::Error,
    },
    /// The process responded with another status than 200.
    #[error("http://{address}/health responded: {status_line}")]
    Unhealthy {
        /// The address that was asked.
        address: SocketAddr,
        /// The status line of the response.
        status_line: String,
    },
}

/// Sends `GET /health` to the address that a process listens on. An unspecified address (`0.0.0.0`, `::`) stands
/// for the loopback address of its family.
///
/// # Errors
/// When no response arrives within three seconds, or its status is not 200.
pub async fn healthy(listens_on: SocketAddr) -> Result<(), ProbeError> {
    let address = SocketAddr::new(reachable(listens_on.ip()), listens_on.port());
    let status_line = tokio::time::timeout(TIMEOUT, status_line(address))
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|source| ProbeError::NoResponse { address, source })?;
    if status_line.split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(ProbeError::Unhealthy { address, status_line })
    }
}

fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

async fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut response).await?;
    let response = String::from_utf8_lossy(&response);
    Ok(response.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Listens on a free port of this address, and responds to every request with this status.
    async fn service(host: &str, status: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn the_address_of_the_settings_is_asked() {
        for host in ["127.0.0.1", "127.8.0.1", "0.0.0.0", "::1", "::"] {
            let address = service(host, "200 OK").await;
            let result = healthy(address).await;
            assert!(result.is_ok(), "{host}: {result:?}");
        }
        // Nothing listens on another loopback address of the same port.
        let address = service("127.8.0.1", "200 OK").await;
        let other = SocketAddr::new("127.8.0.2".parse().unwrap(), address.port());
        assert!(matches!(healthy(other).await, Err(ProbeError::NoResponse { .. })));
    }

    #[tokio::test]
    async fn another_status_is_shown() {
        let address = service("127.0.0.1", "503 Service Unavailable").await;
        let error = healthy(address).await.unwrap_err().to_string();
        assert_eq!(error, format!("http://{address}/health responded: HTTP/1.1 503 Service Unavailable"));
    }
}
