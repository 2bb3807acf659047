//! A running worker, from start to stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pgmq_notify::Listener;
use sqlx::PgPool;
use tasker_runtime::http::{self, Limits};
use tasker_runtime::settings;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::builder::WorkerBuilder;
use crate::claim;
use crate::heartbeat;
use crate::lease;
use crate::record;
use crate::rest;
use crate::shared::{Finished, Shared};

/// How long a shutdown waits for the last results to be recorded, after the running steps have had their time.
const LAST_RESULTS: Duration = Duration::from_secs(3);
/// How long a shutdown waits for each thing that it can do without.
const BEST_EFFORT: Duration = Duration::from_secs(1);
/// The most connections to the status API, which only health checks and the collector of metrics use.
const STATUS_CONNECTIONS: usize = 256;
/// How long a client of the status API may take to send a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection to the status API may stay open between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// A running worker. Call [`stop`](Self::stop) at the end. A worker that is dropped ends at once, as in a crash, and
/// its running steps start again only after their leases have expired.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    address: SocketAddr,
    loops: JoinSet<()>,
}

impl Worker {
    /// Returns a builder for the templates and handlers of a worker. The worker uses two to five connections of the
    /// pool, and one connection of its own for notifications.
    pub fn builder(settings: settings::Worker, pool: PgPool) -> WorkerBuilder {
        WorkerBuilder::new(settings, pool)
    }

    pub(crate) fn run(
        shared: Arc<Shared>,
        results: mpsc::UnboundedReceiver<Finished>,
        channels: HashMap<String, String>,
        status_listener: TcpListener,
        address: SocketAddr,
    ) -> Self {
        let mut loops = JoinSet::new();
        let listener = Listener::new(shared.engine.pool(), channels.keys().cloned());
        loops.spawn(claim::listen(Arc::clone(&shared), listener, channels));
        loops.spawn(claim::claim_steps(Arc::clone(&shared)));
        loops.spawn(record::record_results(Arc::clone(&shared), results));
        loops.spawn(lease::extend_leases(Arc::clone(&shared)));
        loops.spawn(heartbeat::send_heartbeats(Arc::clone(&shared)));
        let database_connections = shared.engine.pool().options().get_max_connections();
        let database_connections = usize::try_from(database_connections).unwrap_or(usize::MAX).saturating_add(1);
        let limits = Limits {
            connections: http::room_for_connections(STATUS_CONNECTIONS, database_connections),
            connections_name: "of the status API",
            header_timeout: HEADER_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        };
        let app = rest::router(Arc::clone(&shared), address.ip().is_loopback());
        loops.spawn(http::serve(status_listener, app, rest::too_many_connections, limits, shared.ended.clone()));
        tracing::info!(
            worker_id = shared.worker_id,
            namespaces = shared.namespaces.join(","),
            %address,
            version = tasker_api::VERSION,
            "worker started"
        );
        Self { shared, address, loops }
    }

    /// The name under which the worker is registered.
    pub fn worker_id(&self) -> &str {
        &self.shared.worker_id
    }

    /// The address of the status API.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the status API, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs until `shutdown` completes, then [stops](Self::stop).
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.stop().await;
    }

    /// Stops the worker gracefully. It claims no more steps. Running steps may finish within the shutdown timeout of
    /// the settings. Then they are released: other workers start them at once, and the attempt does not count.
    ///
    /// This takes at most the shutdown timeout plus six seconds, even if the database is unavailable. Results that
    /// cannot be recorded in that time are lost, and their steps run again after their leases have expired.
    pub async fn stop(mut self) {
        let shared = &self.shared;
        tracing::info!(running_steps = shared.running.len(), "worker is shutting down");
        shared.draining.cancel();
        let draining = async {
            let _ = timeout(BEST_EFFORT, heartbeat::send(shared)).await;
        };
        let (finished, ()) = tokio::join!(everything_recorded(shared, shared.settings.shutdown_timeout()), draining);
        if !finished {
            tracing::info!(steps = shared.running.len(), "steps did not finish in time and are released");
            shared.release.cancel();
            if !everything_recorded(shared, LAST_RESULTS).await {
                tracing::warn!(
                    steps = shared.running.len(),
                    "the last results could not be recorded; these steps run again after their leases have expired"
                );
            }
        }
        shared.ended.cancel();
        let _ = timeout(BEST_EFFORT, heartbeat::send(shared)).await;
        let ended = async { while self.loops.join_next().await.is_some() {} };
        if timeout(BEST_EFFORT, ended).await.is_err() {
            // Some clients of the status API keep their connections open.
            self.loops.abort_all();
        }
        tracing::info!("worker stopped");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Shared { draining, release, ended, .. } = &*self.shared;
        for token in [draining, release, ended] {
            token.cancel();
        }
    }
}

/// Waits until every claimed step is recorded, in a worker that claims no more steps. Returns false if that takes too
/// long.
async fn everything_recorded(shared: &Shared, limit: Duration) -> bool {
    let recorded = async {
        // A claim that has begun before holds slots until its steps are running.
        let _all = shared.slots.acquire_many(shared.settings.max_concurrent.max(1)).await;
        shared.running.wait_until_empty().await;
    };
    timeout(limit, recorded).await.is_ok()
}
