//! `tasker-cli worker`

use clap::Subcommand;
use serde::Serialize;
use tasker_api::{Health, HealthStatus, WorkerState, WorkerSummary};
use tasker_client::{OrchestrationApiClient, WorkerApiClient};

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// The hint if a worker cannot be reached.
const HINT: &str =
    "is the worker running? `tasker-cli dev` starts one; --worker-url or TASKER_WORKER_URL names another";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the workers that the server knows.
    List {
        /// Only workers that serve this namespace.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Show what the worker at --worker-url is doing, or what the server knows about a worker.
    Status {
        /// The worker's id [default: the one at --worker-url].
        #[arg(long)]
        id: Option<String>,
    },
    /// Check the health of the worker at --worker-url; exit code 1 if it is unhealthy.
    Health {
        /// Also check the heartbeats of all workers that the server knows.
        #[arg(long)]
        all: bool,
    },
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List { namespace } => {
                let list = context.orchestration()?.list_workers(namespace.as_deref()).await?;
                if context.json { output::print_json(&list) } else { output::print(table(&list.workers)) }
            }
            Self::Status { id: None } => own_status(context).await,
            Self::Status { id: Some(id) } => {
                let workers = context.orchestration()?.list_workers(None).await?.workers;
                match workers.iter().find(|worker| worker.worker_id == id) {
                    Some(worker) if context.json => output::print_json(worker),
                    Some(worker) => output::print(table(std::slice::from_ref(worker))),
                    None => {
                        let known: Vec<_> = workers.iter().map(|worker| worker.worker_id.as_str()).collect();
                        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                        Err(Failure::failed(format!("the server knows no worker '{id}', only: {known}")))
                    }
                }
            }
            Self::Health { all } => {
                let workers = if all { every(context).await? } else { vec![at_url(context).await?] };
                if context.json {
                    output::print_json(&workers)?;
                } else {
                    output::print(health_table(&workers))?;
                }
                judge(&workers)
            }
        }
    }
}

/// What is known of a worker's health.
#[derive(Debug, Serialize)]
pub(super) struct WorkerHealth {
    /// Its id, or its address if the worker itself was queried.
    worker: String,
    status: HealthStatus,
    /// Why.
    detail: String,
}

/// Fails if there is no worker, or one is unhealthy.
pub(super) fn judge(workers: &[WorkerHealth]) -> Result<(), Failure> {
    let sick: Vec<_> = workers.iter().filter(|worker| worker.status == HealthStatus::Unhealthy).collect();
    match sick.as_slice() {
        [] if workers.is_empty() => Err(Failure::failed("there are no workers").hint(HINT)),
        [] => Ok(()),
        [worker] => Err(Failure::failed(format!("worker {} is unhealthy: {}", worker.worker, worker.detail))),
        _ => Err(Failure::failed(format!("{} of {} workers are unhealthy", sick.len(), workers.len()))),
    }
}

pub(super) fn health_table(workers: &[WorkerHealth]) -> String {
    let rows = workers.iter().map(|worker| {
        let status = match worker.status {
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        };
        [worker.worker.clone(), status.to_owned(), worker.detail.clone()]
    });
    output::table(["worker", "health", "detail"], rows)
}

/// The health of the workers that the server knows, without those that were stopped, and of the worker at the
/// worker's address unless nothing is there and the address is the default.
pub(super) async fn every(context: &Context) -> Result<Vec<WorkerHealth>, Failure> {
    let known = context.orchestration()?.list_workers(None).await?.workers;
    let mut workers: Vec<_> =
        known.iter().filter(|worker| worker.status != WorkerState::Stopped).map(by_heartbeat).collect();
    match at_url(context).await {
        Ok(worker) => workers.push(worker),
        // There need not be a worker at the default address.
        Err(failure) if failure.is_unreachable() && context.named_worker_url()?.is_none() => {}
        Err(failure) if failure.is_unreachable() => workers.push(WorkerHealth {
            worker: context.worker()?.1,
            status: HealthStatus::Unhealthy,
            detail: failure.message().to_owned(),
        }),
        Err(failure) => return Err(failure),
    }
    Ok(workers)
}

fn by_heartbeat(worker: &WorkerSummary) -> WorkerHealth {
    let status = if worker.status == WorkerState::Lost { HealthStatus::Unhealthy } else { HealthStatus::Healthy };
    let ago = output::length(chrono::Utc::now() - worker.last_heartbeat_at);
    let detail = format!("{}, last heartbeat {ago} ago", worker.status.as_str());
    WorkerHealth { worker: worker.worker_id.clone(), status, detail }
}

/// The health of the worker at the worker's address.
async fn at_url(context: &Context) -> Result<WorkerHealth, Failure> {
    let (client, url) = context.worker()?;
    let health = client.worker_health().await.map_err(|error| Failure::from(error).hint_if_unreachable(HINT))?;
    Ok(WorkerHealth { worker: url, status: health.status, detail: checks(&health) })
}

/// The checks of a health response in words.
pub(super) fn checks(health: &Health) -> String {
    let checks = health.checks.iter().map(|(name, check)| match (check.status, &check.message) {
        (HealthStatus::Healthy, _) => format!("{name}: healthy"),
        (HealthStatus::Unhealthy, None) => format!("{name}: unhealthy"),
        (HealthStatus::Unhealthy, Some(message)) => format!("{name}: {message}"),
    });
    checks.collect::<Vec<_>>().join(", ")
}

async fn own_status(context: &Context) -> Result<(), Failure> {
    let (client, _) = context.worker()?;
    let status = client.get_worker_status().await.map_err(|error| Failure::from(error).hint_if_unreachable(HINT))?;
    if context.json {
        return output::print_json(&status);
    }
    output::print(output::facts([
        ("worker", Some(status.worker_id)),
        ("status", Some(status.status.as_str().to_owned())),
        ("version", Some(status.version)),
        ("started", Some(format!("{} UTC", output::time(status.started_at)))),
        ("namespaces", Some(status.namespaces.join(", "))),
        ("running steps", Some(format!("{} of {} at most", status.running_steps, status.max_concurrent))),
        ("completed steps", Some(status.completed_steps.to_string())),
        ("failed steps", Some(status.failed_steps.to_string())),
        ("handlers", Some(status.handlers.join(", "))),
    ]))
}

fn table(workers: &[WorkerSummary]) -> String {
    let rows = workers.iter().map(|worker| {
        [
            worker.worker_id.clone(),
            worker.status.as_str().to_owned(),
            worker.namespaces.join(", "),
            worker.max_concurrent.to_string(),
            worker.version.clone(),
            worker.host.clone(),
            output::time(worker.last_heartbeat_at),
        ]
    });
    output::table(["worker", "status", "namespaces", "max steps", "version", "host", "last heartbeat (UTC)"], rows)
}
