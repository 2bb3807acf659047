//! State that all parts of a campaign share.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tasker_engine::Engine;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::stack::Stack;

/// How long a part waits for a session. Opening several at once on a busy machine takes seconds, and an attempt that is
/// given up begins anew.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);

/// State that all parts of a campaign share.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) stack: Stack,
    /// The campaign's own database sessions, for false results and for checks.
    pub(crate) engine: Engine,
    pub(crate) ledger: Arc<Ledger>,
    /// Cancelled when no new tasks are to be created.
    pub(crate) closing: CancellationToken,
    /// Cancelled when clients are to give up waiting.
    pub(crate) over: CancellationToken,
}

impl Field {
    pub(crate) fn new(stack: Stack, ledger: Arc<Ledger>) -> Result<Self> {
        let options: PgConnectOptions = stack.database_url().parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(10)
            .acquire_timeout(ledger.limit(ACQUIRE_LIMIT))
            .connect_lazy_with(options.application_name("tasker-chaos"));
        let (closing, over) = (CancellationToken::new(), CancellationToken::new());
        Ok(Self { stack, engine: Engine::new(pool), ledger, closing, over })
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.engine.pool()
    }

    /// The time by PostgreSQL's clock. Fails while PostgreSQL is unavailable.
    pub(crate) async fn now(&self) -> sqlx::Result<DateTime<Utc>> {
        sqlx::query_scalar("select clock_timestamp()").fetch_one(self.pool()).await
    }
}
