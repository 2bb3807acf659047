//! A running worker, from its start to its end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use pgmq_notify::Listener;
use sqlx::PgPool;
use tasker_runtime::settings;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::builder::WorkerBuilder;
use crate::claim;
use crate::heartbeat;
use crate::lease;
use crate::record;
use crate::rest;
use crate::shared::{Finished, Shared};

/// How long a shutdown waits for the database to take what is left, after the running steps have had their time.
const LAST_RESULTS: Duration = Duration::from_secs(3);
/// How long a shutdown waits for each of the things that it could do without.
const COURTESY: Duration = Duration::from_secs(1);

/// A running worker. [`stop`](Self::stop) it in the end: a worker that is dropped ends at once, as in a crash, and its
/// running steps start again elsewhere only when their leases end.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    address: SocketAddr,
    loops: JoinSet<()>,
}

impl Worker {
    /// A worker to be given templates and handlers. It uses two to five connections of the pool, and one more of its own
    /// for notifications.
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
        let results = Arc::new(Mutex::new(results));
        let listener = Listener::new(shared.engine.pool(), channels.keys().cloned());
        loops.spawn(claim::listen(Arc::clone(&shared), listener, channels));
        loops.spawn(claim::claim_steps(Arc::clone(&shared)));
        for _ in 0..record::BATCHES_IN_FLIGHT {
            loops.spawn(record::record_results(Arc::clone(&shared), Arc::clone(&results)));
        }
        loops.spawn(lease::keep_leases(Arc::clone(&shared)));
        loops.spawn(heartbeat::keep_beating(Arc::clone(&shared)));
        let without_delay = status_listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
        });
        let status_api = axum::serve(without_delay, rest::router(Arc::clone(&shared)))
            .with_graceful_shutdown(shared.ended.clone().cancelled_owned());
        loops.spawn(async move {
            if let Err(error) = status_api.await {
                tracing::error!(%error, "the status API has ended");
            }
        });
        tracing::info!(
            worker_id = shared.worker_id,
            namespaces = shared.namespaces.join(","),
            %address,
            version = tasker_api::VERSION,
            "worker runs"
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

    /// Runs until `shutdown` is there, then [stops](Self::stop).
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.stop().await;
    }

    /// Ends the worker in order: it claims no more; running steps have the settings' shutdown timeout to finish, and are
    /// then handed back, so that other workers start them at once and the attempt does not count.
    ///
    /// Takes the shutdown timeout and six seconds at most, even if the database is away. Results that it could not record
    /// then are lost, and their steps run again when their leases end.
    pub async fn stop(mut self) {
        let shared = &self.shared;
        tracing::info!(running_steps = shared.running.len(), "worker shuts down");
        shared.draining.cancel();
        let draining = async {
            let _ = timeout(COURTESY, heartbeat::beat(shared)).await;
        };
        let (finished, ()) = tokio::join!(everything_recorded(shared, shared.settings.shutdown_timeout()), draining);
        if !finished {
            tracing::info!(steps = shared.running.len(), "steps did not finish in time and are handed back");
            shared.hand_back.cancel();
            if !everything_recorded(shared, LAST_RESULTS).await {
                tracing::warn!(
                    steps = shared.running.len(),
                    "the database did not take the last results; these steps run again when their leases end"
                );
            }
        }
        shared.ended.cancel();
        let _ = timeout(COURTESY, heartbeat::beat(shared)).await;
        let ended = async { while self.loops.join_next().await.is_some() {} };
        if timeout(COURTESY, ended).await.is_err() {
            // Clients of the status API that keep their connections.
            self.loops.abort_all();
        }
        tracing::info!("worker has ended");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Shared { draining, hand_back, ended, .. } = &*self.shared;
        for token in [draining, hand_back, ended] {
            token.cancel();
        }
    }
}

/// Waits until no slot is taken: every step that was claimed is recorded. False if that takes too long.
async fn everything_recorded(shared: &Shared, patience: Duration) -> bool {
    let slots = shared.settings.max_concurrent.max(1);
    timeout(patience, shared.slots.acquire_many(slots)).await.is_ok()
}
