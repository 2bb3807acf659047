//! The address of the database. It stays the same when another server becomes the primary, as behind a load balancer.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A port on 127.0.0.1 that leads to the port of the primary. Dropping it closes every connection.
#[derive(Debug)]
pub(crate) struct Gate {
    port: u16,
    target: Arc<Mutex<Target>>,
    listener: JoinHandle<()>,
}

#[derive(Debug)]
struct Target {
    port: u16,
    /// Cancelled when the connections to this port are to be closed.
    moved: CancellationToken,
}

impl Gate {
    /// Opens a gate that leads to a port.
    pub(crate) async fn open(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let target = Arc::new(Mutex::new(Target { port: target, moved: CancellationToken::new() }));
        let shared = Arc::clone(&target);
        let listener = tokio::spawn(async move {
            // Accepting fails only for a moment: for a client that has gone, or for want of file descriptors.
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    let (port, moved) = {
                        let target = shared.lock();
                        (target.port, target.moved.clone())
                    };
                    tokio::spawn(moved.run_until_cancelled_owned(forward(client, port)));
                }
            }
        });
        Ok(Self { port, target, listener })
    }

    /// The port of the gate.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Leads to another port from now on, and closes the connections to the earlier one.
    pub(crate) fn lead_to(&self, port: u16) {
        let mut target = self.target.lock();
        let earlier = std::mem::replace(&mut *target, Target { port, moved: CancellationToken::new() });
        earlier.moved.cancel();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.listener.abort();
        self.target.lock().moved.cancel();
    }
}

/// Forwards a connection until one side ends it. If there is no server, the client sees the end of its connection.
async fn forward(mut client: TcpStream, port: u16) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    // Small messages must not wait for one another. A failure only makes them slower.
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
