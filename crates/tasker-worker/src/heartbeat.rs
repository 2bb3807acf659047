//! Tells the database that the worker lives, and what it is doing.

use std::sync::Arc;
use std::time::Duration;

use tasker_engine::WorkerHeartbeat;
use tokio::time::sleep;

use crate::outage::{Outage, bounded};
use crate::shared::Shared;

/// The server takes a worker for lost after four missed ones.
const INTERVAL: Duration = Duration::from_secs(5);

/// Beats until the worker has ended; the first beat was the one of the start.
pub(crate) async fn keep_beating(shared: Arc<Shared>) {
    let mut pause = INTERVAL;
    let mut outage = Outage::new("send heartbeats");
    while shared.ended.run_until_cancelled(sleep(pause)).await.is_some() {
        match bounded(beat(&shared)).await {
            Ok(()) => {
                outage.over();
                pause = INTERVAL;
            }
            Err(error) => {
                shared.metrics.database_failed("heartbeat");
                pause = outage.failed(&error);
            }
        }
    }
}

/// One heartbeat.
pub(crate) async fn beat(shared: &Shared) -> sqlx::Result<()> {
    shared
        .engine
        .heartbeat(&WorkerHeartbeat {
            worker_id: &shared.worker_id,
            namespaces: &shared.namespaces,
            status: shared.state(),
            max_concurrent: shared.settings.max_concurrent,
            host: &shared.host,
            started_at: shared.started_at,
        })
        .await
}
