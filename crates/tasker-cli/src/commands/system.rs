//! `tasker-cli system`

use clap::Subcommand;
use serde::Serialize;
use tasker_api::{Health, HealthStatus};
use tasker_client::OrchestrationApiClient;

use super::worker::{self, WorkerHealth};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the health of the server and the workers; exit code 1 if one is unhealthy.
    Health {
        /// Check only the server, unless --workers is given too.
        #[arg(long)]
        orchestration: bool,
        /// Check only the workers, unless --orchestration is given too.
        #[arg(long)]
        workers: bool,
    },
    /// Show the versions of Tasker, its schema, PostgreSQL and PGMQ.
    Info,
}

/// The output of `system health --json`.
#[derive(Serialize)]
struct SystemHealth {
    #[serde(skip_serializing_if = "Option::is_none")]
    orchestration: Option<Health>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<Vec<WorkerHealth>>,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Health { orchestration, workers } => {
                let both = orchestration == workers;
                health(context, orchestration || both, workers || both).await
            }
            Self::Info => {
                let info = context.orchestration()?.system_info().await?;
                if context.json {
                    return output::print_json(&info);
                }
                output::print(output::facts([
                    ("tasker", Some(info.version)),
                    ("schema", Some(format!("version {}", info.schema_version))),
                    ("postgresql", Some(info.postgresql_version)),
                    ("pgmq", Some(format!("{}, installed as {}", info.pgmq.version, info.pgmq.installed_as))),
                    ("started", Some(format!("{} UTC", output::time(info.started_at)))),
                ]))
            }
        }
    }
}

async fn health(context: &Context, orchestration: bool, workers: bool) -> Result<(), Failure> {
    let orchestration = if orchestration { Some(context.orchestration()?.health().await?) } else { None };
    let sick = orchestration.as_ref().filter(|health| health.status == HealthStatus::Unhealthy);
    let sick = sick.map(|health| format!("the server is unhealthy: {}", worker::checks(health)));
    // Without its database the server knows no workers.
    let workers = if workers && sick.is_none() { Some(worker::every(context).await?) } else { None };
    let system = SystemHealth { orchestration, workers };
    if context.json {
        output::print_json(&system)?;
    } else {
        if system.orchestration.is_some() && sick.is_none() {
            output::print("The server is healthy.")?;
        }
        if let Some(workers) = &system.workers {
            output::print(worker::health_table(workers))?;
        }
    }
    match (sick, system.workers) {
        (Some(sick), _) => Err(Failure::failed(sick)),
        (None, Some(workers)) => worker::judge(&workers),
        (None, None) => Ok(()),
    }
}
