//! The HTTP server: accepts connections up to a limit, and closes those of clients that are slow or idle.
//!
//! It uses hyper directly, because `axum::serve` has neither timeouts nor a limit on connections.

mod activity;
mod body;
mod connection;
mod host;
mod open_files;
mod slots;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::activity::Activity;
pub use self::host::is_local_name;
pub use self::open_files::room_for_connections;
use self::slots::Slots;

/// How long to wait before the next connection if the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits on connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many connections may be open.
    pub connections: usize,
    /// The name of this limit in the log, such as `orchestration.max_connections`.
    pub connections_name: &'static str,
    /// How long a client may take to send the headers of a request.
    pub header_timeout: Duration,
    /// How long a connection may stay open between two requests. A client must also read a response within this time.
    pub idle_timeout: Duration,
}

/// An extension of each request: its connection.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Activity>);

impl Connection {
    /// Lets a new connection take the place of this one, if all connections are in use. Otherwise a connection
    /// keeps its place while a request is handled. Call this before a deliberate delay, so that delayed clients
    /// cannot keep others out.
    pub fn allow_replacement(&self) {
        self.0.allow_replacement();
    }
}

/// Serves all connections until `shutdown` is cancelled. Then it closes those that are idle, and returns when the
/// responses to the others are sent. Dropping the future closes all.
///
/// Each request has the extensions `ConnectInfo<SocketAddr>` and [`Connection`]. If all connections are busy, a few
/// more are accepted for health checks; other requests on them get the response of `busy`. Reading a request body
/// has no timeout here: the routes must limit it.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    busy: fn() -> Response,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let mut slots = Slots::new(limits);
    let mut connections = JoinSet::new();
    // Without this, axum prepares the routes again for each request.
    let app = app.with_state(());
    loop {
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_client(error.kind()) => continue,
                Err(error) => {
                    slots.warn_open_files(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Without a slot, the connection is closed.
        let Some(slot) = slots.take().await else { continue };
        let service = connection::Service { app: app.clone(), busy, peer };
        connections.spawn(connection::serve(stream, service, slot, limits, shutdown.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Whether the client closed the connection before it was accepted.
fn is_of_client(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
