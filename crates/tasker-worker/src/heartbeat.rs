//! Tells the database that the worker is alive, and what it is doing.

use std::sync::Arc;
use std::time::Duration;

use tasker_engine::WorkerHeartbeat;
use tokio::time::sleep;

use crate::outage::{Outage, bounded};
use crate::shared::Shared;

/// The time between two heartbeats. The server considers a worker lost after four missed ones.
const INTERVAL: Duration = Duration::from_secs(5);

/// Sends heartbeats until the worker has stopped. The first one was sent at the start.
pub(crate) async fn send_heartbeats(shared: Arc<Shared>) {
    let mut pause = INTERVAL;
    let mut outage = Outage::new("send heartbeats");
    while shared.ended.run_until_cancelled(sleep(pause)).await.is_some() {
        match bounded(send(&shared)).await {
            Ok(()) => {
                outage.recovered();
                pause = INTERVAL;
            }
            Err(error) => {
                shared.metrics.database_failed("heartbeat");
                pause = outage.failed(&error);
            }
        }
    }
}

/// Sends one heartbeat.
pub(crate) async fn send(shared: &Shared) -> sqlx::Result<()> {
    let handlers: Vec<String> = shared.handlers.names().map(str::to_owned).collect();
    shared
        .engine
        .heartbeat(&WorkerHeartbeat {
            worker_id: &shared.worker_id,
            namespaces: &shared.namespaces,
            status: shared.state(),
            max_concurrent: shared.settings.max_concurrent,
            host: &shared.host,
            started_at: shared.started_at,
            handlers: &handlers,
            running_steps: u64::try_from(shared.running.len()).unwrap_or(u64::MAX),
            completed_steps: shared.metrics.completed(),
            failed_steps: shared.metrics.failed(),
        })
        .await
}
