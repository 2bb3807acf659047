//! Waiting for notifications.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};

/// What a [`Listener`] heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A notification.
    Notified {
        /// Its channel.
        channel: String,
        /// Its payload.
        payload: String,
    },
    /// The connection is new: anything may have happened before, so look at all that you wait for.
    Connected,
}

/// Listens on channels, on one connection of its own. A lost connection is made again, for as long as it takes.
#[derive(Debug)]
pub struct Listener {
    pool: PgPool,
    channels: Vec<String>,
    connection: Option<PgListener>,
}

/// Between attempts to connect.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);

impl Listener {
    /// A listener on the database of `pool`. It connects at the first [`next`](Self::next).
    pub fn new(pool: &PgPool, channels: impl IntoIterator<Item = String>) -> Self {
        // Not a connection of the caller's pool: this one is never given back.
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
        // A lost connection must be seen here, so that the caller hears of it.
        connection.eager_reconnect(false);
        connection.listen_all(self.channels.iter().map(String::as_str)).await?;
        Ok(connection)
    }
}
