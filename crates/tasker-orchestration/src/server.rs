//! The server's life: bind, run, shut down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use chrono::{DateTime, Utc};
use tasker_engine::Engine;
use tasker_engine::database::{self, DatabaseError};
use tasker_runtime::settings::{Orchestration, Retention, Settings, SettingsError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::rest;
use crate::rest::access::{Access, BadKey};
use crate::services::creator::Creator;
use crate::services::housekeeping;
use crate::services::metrics::Metrics;
use crate::services::templates::Templates;
use crate::services::waiters::Waiters;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --port or --host")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What happened.
        source: std::io::Error,
    },
    /// Everybody who reaches the address could use the server.
    #[error(
        "refusing to listen on {0} without any key, because everybody who reaches it could run and end tasks: \
         set API_KEY or JWT_PUBLIC_KEY, or listen on 127.0.0.1, or say --insecure"
    )]
    Exposed(SocketAddr),
    /// A key cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The public key for tokens cannot be used.
    #[error("the public key for tokens (JWT_PUBLIC_KEY, or jwt_public_key of the settings) cannot be used: {0}")]
    BadKey(#[from] BadKey),
}

/// What every request can reach.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) access: Access,
    pub(crate) engine: Engine,
    pub(crate) settings: Orchestration,
    pub(crate) creator: Creator,
    pub(crate) templates: Templates,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) metrics: Metrics,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) shutdown: CancellationToken,
}

/// A server that listens and can be run.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    retention: Retention,
    state: Arc<State>,
}

impl Server {
    /// Reads the keys, connects to the database, checks its schema, and binds the address of the settings. Without a key that is
    /// a loopback address, unless the settings insist.
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
            tracing::warn!(address = %wanted, "insecure: without any key, everybody who reaches this address can run and end tasks");
        }
        let pool = database::connect(&settings.database, "tasker-server").await?;
        database::require_schema(&pool).await?;
        let bind = |source| StartError::Bind { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let engine = Engine::new(pool);
        let state = Arc::new(State {
            access,
            creator: Creator::start(engine.clone()),
            engine,
            settings: settings.orchestration.clone(),
            templates: Templates::default(),
            waiters: Arc::default(),
            metrics: Metrics::new(),
            started_at: Utc::now(),
            shutdown: CancellationToken::new(),
        });
        Ok(Self { listener, address, retention: settings.retention.clone(), state })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` is cancelled. Then it takes no new ones, answers those that wait for tasks with what is
    /// known, and gives the others the shutdown timeout of the settings.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listener, address, retention, state } = self;
        tracing::info!(%address, version = tasker_api::VERSION, "tasker-server listens");
        let ending = state.shutdown.clone();
        let waiters = tokio::spawn(Arc::clone(&state.waiters).run(state.engine.clone(), ending.clone()));
        let housekeeping = tokio::spawn(housekeeping::run(Arc::clone(&state), retention));
        let app = rest::router(Arc::clone(&state));
        // Small answers go out at once, not when the client has acknowledged the last one.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
        });
        let serve = axum::serve(listener, app).with_graceful_shutdown(ending.clone().cancelled_owned());
        let mut serving = tokio::spawn(serve.into_future());

        shutdown.cancelled().await;
        tracing::info!("tasker-server shuts down");
        ending.cancel();
        if tokio::time::timeout(state.settings.shutdown_timeout(), &mut serving).await.is_err() {
            serving.abort();
            tracing::warn!("some requests did not finish in time and were cut off");
        }
        // They end by themselves with the token.
        let _ = waiters.await;
        let _ = housekeeping.await;
        let _ = tokio::time::timeout(Duration::from_secs(1), state.engine.pool().close()).await;
        tracing::info!("tasker-server has ended");
    }
}
