//! `tasker-cli system`

use clap::Subcommand;
use serde::Serialize;
use tasker_api::{Health, HealthStatus, Stats};
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
    /// Show how many tasks there are in each state, the queues, the workers, and handlers that are missing.
    Stats {
        /// Only this namespace.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Show whose key is used, and what it allows.
    Whoami,
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
            Self::Stats { namespace } => {
                let stats = context.orchestration()?.stats(namespace.as_deref()).await?;
                if context.json { output::print_json(&stats) } else { output::print(stats_text(stats)) }
            }
            Self::Whoami => {
                let caller = context.orchestration()?.whoami().await?;
                if context.json {
                    return output::print_json(&caller);
                }
                output::print(output::facts([
                    ("name", Some(caller.name.unwrap_or_else(|| "everyone: the server has no keys".to_owned()))),
                    ("scopes", Some(caller.scopes.join(", "))),
                    ("namespaces", Some(caller.namespaces.map_or_else(|| "all".to_owned(), |names| names.join(", ")))),
                ]))
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

fn stats_text(stats: Stats) -> String {
    let limit = stats.count_limit;
    let number = |count: i64| if count >= limit { format!("{limit} or more") } else { count.to_string() };
    let tasks = stats.tasks.iter().map(|row| [row.namespace.clone(), row.status.to_string(), number(row.count)]);
    let queues = stats.queues.iter().map(|queue| {
        let oldest = queue.oldest_ready_seconds.map(|seconds| format!("{seconds:.1} s")).unwrap_or_default();
        [queue.namespace.clone(), number(queue.ready), number(queue.hidden), oldest]
    });
    let workers = &stats.workers;
    let mut text = [
        output::table(["namespace", "status", "tasks"], tasks),
        output::table(["namespace", "ready", "hidden", "oldest ready"], queues),
        format!(
            "Workers: {} running, {} draining, {} lost; {} of {} steps at once; {:.1} completed and {:.1} failed a second",
            workers.running,
            workers.draining,
            workers.lost,
            workers.running_steps,
            workers.max_concurrent,
            workers.completed_per_second,
            workers.failed_per_second
        ),
    ]
    .join("\n\n");
    for namespace in stats.paused {
        text.push_str(&format!("\nNamespace {} is paused: none of its steps start.", output::clean(&namespace)));
    }
    for missing in stats.unserved {
        text.push_str(&format!(
            "\nNo live worker of namespace {} has a handler for {}.",
            output::clean(&missing.namespace),
            output::clean(&missing.callable)
        ));
    }
    text
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
