//! `rust-worker`: the sample worker.

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tasker_engine::database::{self, DatabaseError};
use tasker_runtime::settings::Settings;
use tasker_runtime::{logging, probe, shutdown, telemetry};
use tasker_worker::StartError;

/// Tasker's sample worker: runs the steps of the sample workflows.
///
/// Settings come from flags, then the environment (DATABASE_URL, TASKER_NAMESPACES, TASKER_WORKER_ID), then the
/// settings file, then defaults. Exit codes: 0 after a graceful shutdown (SIGTERM, SIGINT), 1 if the worker cannot
/// start or is unhealthy, 2 for wrong arguments, 4 if the database must be migrated, 5 if it is too new for this program.
#[derive(Parser)]
#[command(name = "rust-worker", version)]
struct Arguments {
    /// The settings file (TOML).
    #[arg(long, env = "TASKER_CONFIG_PATH", global = true)]
    config: Option<PathBuf>,
    /// The address of the status API.
    #[arg(long, env = "TASKER_WORKER_HOST", global = true)]
    host: Option<IpAddr>,
    /// The port of the status API; 0 chooses a free one.
    #[arg(long, env = "TASKER_WORKER_PORT", global = true)]
    port: Option<u16>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check the health of the worker on this machine: exit code 0 if it is healthy, otherwise 1.
    Health,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rust-worker: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rust-worker: {error}");
            exit_code(&*error)
        }
    };
    // A handler that blocks its thread must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    let database = match error.downcast_ref() {
        Some(StartError::Database(error)) => Some(error),
        _ => error.downcast_ref::<DatabaseError>(),
    };
    database.map_or(ExitCode::FAILURE, |error| ExitCode::from(error.exit_code()))
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::load(arguments.config.as_deref())?;
    if let Some(host) = arguments.host {
        settings.worker.host = host;
    }
    if let Some(port) = arguments.port {
        settings.worker.port = port;
    }
    if let Some(Command::Health) = arguments.command {
        return Ok(probe::healthy(settings.worker.address()).await?);
    }
    telemetry::start(&settings.telemetry, "rust-worker")?;
    logging::init(&settings.logging)?;
    let shutdown = shutdown::on_signal()?;
    let pool = database::connect(&settings.database, "rust-worker").await?;
    let worker = tasker_worker_rust::worker(settings.worker, pool).start().await?;
    worker.run_until(shutdown.cancelled_owned()).await;
    telemetry::flush().await;
    Ok(())
}
