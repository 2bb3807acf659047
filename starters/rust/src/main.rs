//! An order service. Its API creates a task for each order, and its worker runs the steps of the tasks.
//!
//! - `api`: the HTTP API;
//! - `steps`: the handlers of the steps in `templates/order.yaml`.
//!
//! Both run in this process. It needs Tasker's server and its database: see `process-compose.yaml`.

mod api;
mod steps;
#[cfg(test)]
mod tests;

use anyhow::Context;
use tasker_core::runtime::logging;
use tasker_core::{OrchestrationClient, Settings, Worker, database, shutdown};
use tokio::net::TcpListener;

/// Settings come from the environment: `DATABASE_URL`, `TASKER_ORCHESTRATION_URL`, `TASKER_API_KEY` and `LISTEN`.
/// `TASKER_CONFIG_PATH` can name a file with all settings of the worker.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::load(None)?;
    logging::init(&settings.logging).map_err(anyhow::Error::msg)?;
    let shutdown = shutdown::on_signal()?;

    let mut tasker = OrchestrationClient::new(&variable(
        "TASKER_ORCHESTRATION_URL",
        "http://127.0.0.1:8080",
    ))?;
    if let Ok(key) = std::env::var("TASKER_API_KEY") {
        tasker = tasker.with_api_key(&key)?;
    }
    let address = variable("LISTEN", "127.0.0.1:3000");
    let listener = TcpListener::bind(&address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;

    let pool = database::connect(&settings.database, "tasker-starter").await?;
    let worker = steps::add_to(Worker::builder(settings.worker, pool))
        .start()
        .await?;
    tracing::info!(address, "the API listens");
    let api = axum::serve(listener, api::router(tasker))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    // On SIGTERM, both finish what they have begun.
    let (served, ()) = tokio::join!(api, worker.run_until(shutdown.cancelled_owned()));
    Ok(served?)
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
