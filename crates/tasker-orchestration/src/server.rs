//! Starts, runs and stops the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chrono::Utc;
use tasker_engine::Engine;
use tasker_engine::database::{self, DatabaseError};
use tasker_runtime::http::{self, Limits};
use tasker_runtime::settings::Settings;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::rest;
use crate::rest::access::{Access, AccessError};
use crate::rest::bodies::Bodies;
use crate::rest::state::State;
use crate::services::batches::Batches;
use crate::services::bulk::BulkJobs;
use crate::services::deadlines;
use crate::services::housekeeping::Housekeeping;
use crate::services::live::Live;
use crate::services::metrics::Metrics;
use crate::services::reporter::Reporter;
use crate::services::rests;
use crate::services::scheduler::Scheduler;
use crate::services::stats::Statistics;
use crate::services::templates::Templates;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: {source}; choose another address with --port or --host")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What happened.
        source: std::io::Error,
    },
    /// Everyone who can reach the address could use the server.
    #[error(
        "refusing to listen on {0} without any key, because everyone who can reach it could create and cancel tasks: \
         set API_KEY or JWT_PUBLIC_KEY, or listen on 127.0.0.1, or pass --insecure"
    )]
    Exposed(SocketAddr),
    /// The keys of the settings cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The description of the API cannot be written as JSON: a bug.
    #[error("cannot describe the API: {0}")]
    Description(#[from] serde_json::Error),
}

/// A server that listens and can be run.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Router,
    limits: Limits,
    housekeeping: Housekeeping,
    scheduler: Scheduler,
    reporter: Reporter,
    state: Arc<State>,
}

impl Server {
    /// Reads the keys, connects to the database, checks its schema, and listens on the address of the settings.
    /// Without a key, that must be a loopback address, unless the settings allow any address with `insecure`.
    ///
    /// Raises the soft limit of the process on open files, if the settings allow more connections than it does.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn bind(settings: &Settings) -> Result<Self, StartError> {
        let wanted = settings.orchestration.address();
        if settings.orchestration.is_exposed() {
            return Err(StartError::Exposed(wanted));
        }
        let access = Access::new(&settings.orchestration.access)?;
        if access.is_open() && !wanted.ip().is_loopback() {
            tracing::warn!(
                address = %wanted,
                "insecure: without any key, everyone who can reach this address can create and cancel tasks"
            );
        }
        let pool = database::connect(&settings.database, "tasker-server").await?;
        database::require_schema(&pool).await?;
        let bind = |source| StartError::Bind { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let engine = Engine::new(pool);
        let reporter = Reporter::default();
        let state = Arc::new(State {
            access,
            tasks: Batches::start(engine.clone()),
            signals: Batches::start(engine.clone()),
            engine: engine.clone(),
            settings: settings.orchestration.clone(),
            templates: Templates::default(),
            waiters: Arc::default(),
            live: Arc::new(Live::new(engine.clone())),
            bulk: Arc::new(BulkJobs::new(engine.clone(), reporter.clone())),
            stats: Arc::new(Statistics::new(engine.clone())),
            metrics: Arc::new(Metrics::new()),
            writability: Arc::clone(&reporter.writability),
            outage: Arc::clone(&reporter.outage),
            bodies: Bodies::new(settings.orchestration.max_bodies_bytes),
            started_at: Utc::now(),
            shutdown: CancellationToken::new(),
        });
        let housekeeping = Housekeeping {
            engine: engine.clone(),
            metrics: Arc::clone(&state.metrics),
            reporter: reporter.clone(),
            retention: settings.retention.clone(),
        };
        let scheduler = Scheduler { engine, metrics: Arc::clone(&state.metrics), reporter: reporter.clone() };
        // One connection more than the pool has listens for notifications.
        let database_connections =
            usize::try_from(settings.database.max_connections).unwrap_or(usize::MAX).saturating_add(1);
        let limits = Limits {
            connections: http::room_for_connections(settings.orchestration.max_connections, database_connections),
            connections_name: "orchestration.max_connections",
            header_timeout: settings.orchestration.header_timeout(),
            idle_timeout: settings.orchestration.idle_timeout(),
        };
        let app = rest::router(Arc::clone(&state))?;
        Ok(Self { listener, address, app, limits, housekeeping, scheduler, reporter, state })
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Responds to requests until `shutdown` is cancelled. Then it accepts no more requests, responds to those that
    /// wait for tasks with the current state, and gives the other requests the shutdown timeout of the settings to
    /// finish.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listener, address, app, limits, housekeeping, scheduler, reporter, state } = self;
        tracing::info!(%address, version = tasker_api::VERSION, "tasker-server listens");
        let ending = state.shutdown.clone();
        let mut services = JoinSet::new();
        let waiters = Arc::clone(&state.waiters);
        services.spawn(waiters.run(state.engine.clone(), reporter.clone(), ending.clone()));
        let (live, bulk) = (Arc::clone(&state.live), Arc::clone(&state.bulk));
        services.spawn(until(ending.clone(), async move { live.run().await }));
        services.spawn(until(ending.clone(), async move { bulk.run().await }));
        services.spawn(until(ending.clone(), housekeeping.run()));
        services.spawn(until(ending.clone(), deadlines::run(state.engine.clone(), reporter)));
        services.spawn(until(ending.clone(), scheduler.run()));
        services.spawn(rests::run(state.engine.clone(), ending.clone()));
        let serve = http::serve(listener, app, rest::too_many_connections, limits, ending.clone());
        let mut serving = tokio::spawn(serve);

        shutdown.cancelled().await;
        tracing::info!("tasker-server shuts down");
        ending.cancel();
        if tokio::time::timeout(state.settings.shutdown_timeout(), &mut serving).await.is_err() {
            serving.abort();
            tracing::warn!("some requests did not finish in time; their connections are closed");
        }
        // The token has stopped them.
        while services.join_next().await.is_some() {}
        let _ = tokio::time::timeout(Duration::from_secs(1), state.engine.pool().close()).await;
        tracing::info!("tasker-server has stopped");
    }
}

/// Runs a service that never returns until the token is cancelled.
async fn until(ended: CancellationToken, service: impl Future<Output = ()>) {
    ended.run_until_cancelled(service).await;
}
