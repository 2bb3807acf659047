//! `tasker-server`: the orchestration server.

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand};
use tasker_engine::MigrateError;
use tasker_engine::database::{self, DatabaseError};
use tasker_orchestration::{Server, StartError};
use tasker_runtime::settings::Settings;
use tasker_runtime::{logging, probe, shutdown, telemetry};

/// Tasker's orchestration server: the REST API for tasks, on PostgreSQL.
///
/// Flags override environment variables, which override the settings file, which overrides the defaults. Exit
/// codes: 0 after a shutdown by SIGTERM or SIGINT, 1 if the server cannot start or is not healthy, 2 for wrong
/// arguments, 4 if the database must be migrated, 5 if it is too new for this program.
#[derive(Parser)]
#[command(name = "tasker-server", version)]
struct Arguments {
    /// The settings file (TOML).
    #[arg(long, env = "TASKER_CONFIG_PATH", global = true)]
    config: Option<PathBuf>,
    /// The address to listen on.
    #[arg(long, env = "TASKER_ORCHESTRATION_HOST", global = true)]
    host: Option<IpAddr>,
    /// The port to listen on. 0 takes a free port.
    #[arg(long, env = "TASKER_ORCHESTRATION_PORT", global = true)]
    port: Option<u16>,
    /// Listen on any address without a key: everyone who can reach the address can create and cancel tasks.
    #[arg(long, env = "TASKER_ORCHESTRATION_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Migrate the database before the start.
    #[arg(long)]
    migrate: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Migrate the database and exit.
    Migrate,
    /// Ask the server at this host and port whether it is healthy, and exit: 0 if it is, otherwise 1.
    Health,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tasker-server: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tasker-server: {error}");
            exit_code(&*error)
        }
    }
}

fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    let database = match error.downcast_ref() {
        Some(StartError::Database(error)) => Some(error),
        _ => error.downcast_ref::<DatabaseError>(),
    };
    let migration = error.downcast_ref::<MigrateError>();
    let code = database.map(DatabaseError::exit_code).or(migration.map(MigrateError::exit_code));
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::load(arguments.config.as_deref())?;
    if let Some(host) = arguments.host {
        settings.orchestration.host = host;
    }
    if let Some(port) = arguments.port {
        settings.orchestration.port = port;
    }
    settings.orchestration.access.insecure |= arguments.insecure;
    // Only the server itself sends traces.
    if arguments.command.is_none() {
        telemetry::start(&settings.telemetry, "tasker-server")?;
    }
    logging::init(&settings.logging)?;
    match arguments.command {
        Some(Command::Health) => return Ok(probe::healthy(settings.orchestration.address()).await?),
        Some(Command::Migrate) => return migrate(&settings).await,
        None if settings.orchestration.is_exposed() => {
            return Err(StartError::Exposed(settings.orchestration.address()).into());
        }
        None if arguments.migrate => migrate(&settings).await?,
        None => {}
    }
    let shutdown = shutdown::on_signal()?;
    Server::bind(&settings).await?.run(shutdown).await;
    telemetry::flush().await;
    Ok(())
}

async fn migrate(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let pool = database::connect(&settings.database, "tasker-server migrate").await?;
    tasker_engine::migrate(&pool).await?;
    Ok(())
}
