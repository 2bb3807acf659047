//! Tasker for applications: run workflows that must not get lost.
//!
//! - [`worker`]: run steps with your handlers; begin with [`Worker`](worker::Worker) and its example;
//! - [`client`]: create tasks and follow them;
//! - [`shared`]: task templates, settings, the shapes of the APIs.
//!
//! ```no_run
//! use tasker_core::client::{OrchestrationApiClient, OrchestrationClient};
//! # use tasker_core::shared::api::CreateTask;
//!
//! # async fn example(task: CreateTask) -> Result<(), Box<dyn std::error::Error>> {
//! let api = OrchestrationClient::new("http://127.0.0.1:8080")?;
//! let created = api.create_task(&task).await?;
//! let done = api.wait_for_task(created.task_uuid, std::time::Duration::from_secs(60)).await?;
//! println!("{} is {}", created.task_uuid, done.summary.status);
//! # Ok(())
//! # }
//! ```

pub use tasker_client as client;
pub use tasker_shared as shared;
pub use tasker_worker as worker;
