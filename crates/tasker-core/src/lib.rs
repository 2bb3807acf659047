//! Tasker for applications: run workflows that must not get lost.
//!
//! - [`worker`]: run steps with your handlers; begin with [`Worker`](worker::Worker) and its example;
//! - [`client`]: create tasks and follow them;
//! - [`api`]: requests and responses;
//! - [`template`]: task templates;
//! - [`runtime`] and [`engine`]: settings and the database connection that a worker needs.
//!
//! ```no_run
//! use tasker_core::client::{OrchestrationApiClient, OrchestrationClient};
//! # use tasker_core::api::CreateTask;
//!
//! # async fn example(task: CreateTask) -> Result<(), Box<dyn std::error::Error>> {
//! let api = OrchestrationClient::new("http://127.0.0.1:8080")?;
//! let created = api.create_task(&task).await?;
//! let done = api.wait_for_task(created.task_uuid, std::time::Duration::from_secs(60)).await?;
//! println!("{} is {}", created.task_uuid, done.summary.status);
//! # Ok(())
//! # }
//! ```

pub use tasker_api as api;
pub use tasker_client as client;
pub use tasker_engine as engine;
pub use tasker_runtime as runtime;
pub use tasker_worker as worker;
