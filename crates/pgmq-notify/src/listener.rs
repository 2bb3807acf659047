//! Waiting for notifications.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};

/// What a [`Listener`] received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A notification.
    Notified {
        /// Its channel.
        channel: String,
        /// Its payload.
        payload: String,
    },
    /// The connection is new. Notifications sent before it are lost, so check everything that you wait for.
    Connected,
}

/// Listens on channels, on a connection of its own. It reconnects until it succeeds.
#[derive(Debug)]
pub struct Listener {
    pool: PgPool,
    channels: Vec<String>,
    connection: Option<PgListener>,
}

/// The pause between attempts to connect.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);

impl Listener {
    /// Creates a listener on the database of `pool`. It connects on the first call of [`next`](Self::next).
    pub fn new(pool: &PgPool, channels: impl IntoIterator<Item = String>) -> Self {
        // Not from the caller's pool, because the connection is never returned.
        let own = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with((*pool.connect_options()).clone());
        Self { pool: own, channels: channels.into_iter().collect(), connection: None }
    }

    /// Waits for the next event. The first one is [`Event::Connected`]. Cancel safe.
    pub async fn next(&mut self) -> Event {
        loop {
            let Some(connection) = &mut self.connection else {
                match self.connect().await {
                    Ok(connection) => {
                        self.connection = Some(connection);
                        return Event::Connected;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot listen for notifications");
                        tokio::time::sleep(RECONNECT_DELAY).await;
                        continue;
                    }
                }
            };
            match connection.try_recv().await {
                Ok(Some(notification)) => {
                    return Event::Notified {
                        channel: notification.channel().to_owned(),
                        payload: notification.payload().to_owned(),
                    };
                }
                Ok(None) | Err(_) => self.connection = None,
            }
        }
    }

    async fn connect(&self) -> sqlx::Result<PgListener> {
        let mut connection = PgListener::connect_with(&self.pool).await?;
        // Reconnecting is up to `next`, which reports it to the caller.
        connection.eager_reconnect(false);
        connection.listen_all(self.channels.iter().map(String::as_str)).await?;
        Ok(connection)
    }
}
