//! PGMQ for plain PostgreSQL, with LISTEN/NOTIFY wake-ups. Independent of Tasker.
//!
//! - [`install`] installs PGMQ in a database: as an extension where the server offers it, otherwise as plain SQL;
//! - [`Listener`] waits for notifications and reconnects when its connection is lost; [`insert_channel`] is the channel
//!   on which PGMQ announces new messages.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = sqlx::PgPool::connect("postgres://localhost/app").await?;
//! pgmq_notify::install(&pool).await?;
//! sqlx::raw_sql("select pgmq.create('mail'); select pgmq.enable_notify_insert('mail')").execute(&pool).await?;
//!
//! let mut listener = pgmq_notify::Listener::new(&pool, [pgmq_notify::insert_channel("mail")]);
//! loop {
//!     // Read until the queue is empty, then wait.
//!     listener.next().await;
//! }
//! # }
//! ```

mod install;
mod listener;
mod scripts;

pub use install::{InstallError, Installation, install};
pub use listener::{Event, Listener};

/// The channel on which PGMQ announces new messages of a queue, after `pgmq.enable_notify_insert`.
pub fn insert_channel(queue: &str) -> String {
    format!("pgmq.q_{queue}.INSERT")
}
