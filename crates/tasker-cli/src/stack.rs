//! PostgreSQL, a server and usually the sample worker in this process, for `dev`, `demo` and `bench`.

use std::path::PathBuf;
use std::time::Instant;

use local_postgres::{LocalPostgres, Options, StopMode};
use sqlx::PgPool;
use tasker_engine::database;
use tasker_orchestration::Server;
use tasker_runtime::settings::{LogFormat, Logging, Settings};
use tasker_runtime::{logging, shutdown, telemetry};
use tasker_worker::Worker;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::output::{self, note};

/// A running stack. Call [`stop`](Self::stop) at the end.
pub(crate) struct Stack {
    /// The server's address.
    pub(crate) url: String,
    /// The sample worker's address, if it runs.
    pub(crate) worker_url: Option<String>,
    /// The database's address, with the password.
    pub(crate) database_url: String,
    worker: Option<(Worker, PgPool)>,
    server: JoinHandle<()>,
    shutdown: CancellationToken,
    postgres: Option<LocalPostgres>,
}

impl Stack {
    /// Settings of a private stack: on free ports, and on a private PostgreSQL unless DATABASE_URL names one.
    pub(crate) fn private_settings(log_filter: &str) -> Settings {
        let mut settings = Settings::default();
        settings.database.url = std::env::var("DATABASE_URL").unwrap_or_default();
        settings.telemetry.otlp_endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_default();
        settings.orchestration.port = 0;
        settings.worker.port = 0;
        settings.logging = Logging { format: LogFormat::Text, filter: log_filter.to_owned() };
        settings
    }

    /// Starts a stack on a temporary folder, runs `work`, and stops the stack, even if the work fails or is
    /// interrupted.
    pub(crate) async fn run<T>(
        settings: Settings,
        work: impl AsyncFnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        telemetry::start(&settings.telemetry, "tasker-cli").map_err(Failure::usage)?;
        logging::init(&settings.logging).map_err(Failure::usage)?;
        let interrupt =
            shutdown::on_signal().map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
        let stack = tokio::select! {
            biased;
            () = interrupt.cancelled() => return Err(Failure::interrupted()),
            stack = Self::start(settings, None, true) => stack?,
        };
        let result = tokio::select! {
            biased;
            () = interrupt.cancelled() => Err(Failure::interrupted()),
            result = work(&stack) => result,
        };
        stack.stop().await?;
        result
    }

    /// Starts everything, and prints what it starts. If the settings name no database, starts a private PostgreSQL on
    /// the folder `data_dir`, or on a temporary one. The sample worker starts only if `with_worker`.
    pub(crate) async fn start(
        mut settings: Settings,
        data_dir: Option<PathBuf>,
        with_worker: bool,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let postgres = if settings.database.url.is_empty() {
            let postgres = LocalPostgres::start(Options { data_dir, settings: Vec::new() }).await?;
            settings.database.url = postgres.url();
            note(format!("PostgreSQL listens on port {} ({})", postgres.port(), output::seconds(begun.elapsed())));
            Some(postgres)
        } else {
            note("Using the PostgreSQL of DATABASE_URL or the settings");
            None
        };

        let begun = Instant::now();
        let pool = database::connect(&settings.database, "tasker-cli").await?;
        tasker_engine::migrate(&pool).await.map_err(Failure::failed)?;
        pool.close().await;
        note(format!("The database is migrated ({})", output::seconds(begun.elapsed())));

        let server = Server::bind(&settings).await.map_err(|error| match error {
            tasker_orchestration::StartError::Database(error) => error.into(),
            error => Failure::failed(error),
        })?;
        let url = format!("http://{}", server.address());
        let worker = if with_worker { Some(start_worker(&settings).await?) } else { None };
        let worker_url = worker.as_ref().map(|(worker, _)| worker.url());
        match &worker_url {
            Some(worker_url) => note(format!("The server listens at {url}, the worker at {worker_url}")),
            None => note(format!("The server listens at {url}")),
        }

        let shutdown = CancellationToken::new();
        let server = tokio::spawn(server.run(shutdown.clone()));
        Ok(Self { url, worker_url, database_url: settings.database.url, worker, server, shutdown, postgres })
    }

    /// Stops everything, the worker first.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        if let Some((worker, pool)) = self.worker {
            worker.stop().await;
            pool.close().await;
        }
        self.shutdown.cancel();
        self.server.await.map_err(|error| Failure::failed(format!("the server failed: {error}")))?;
        if let Some(postgres) = self.postgres {
            postgres.stop(StopMode::Fast).await?;
        }
        telemetry::flush().await;
        Ok(())
    }
}

/// Starts the sample worker, with a pool of its own.
async fn start_worker(settings: &Settings) -> Result<(Worker, PgPool), Failure> {
    let pool = database::connect(&settings.database, "tasker-cli worker").await?;
    let worker = tasker_worker_rust::worker(settings.worker.clone(), pool.clone());
    let worker = worker.start().await.map_err(|error| match error {
        tasker_worker::StartError::Database(error) => error.into(),
        tasker_worker::StartError::Bind { address, source } => Failure::failed(format!(
            "the worker cannot listen on {address}: {source}; choose another port with --worker-port"
        )),
        error => Failure::failed(error),
    })?;
    Ok((worker, pool))
}

impl From<local_postgres::Error> for Failure {
    fn from(error: local_postgres::Error) -> Self {
        Self::failed(error)
    }
}
