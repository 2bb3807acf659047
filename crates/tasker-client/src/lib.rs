//! Typed clients of Tasker's two HTTP APIs.
//!
//! - [`OrchestrationApiClient`]: what a server can be asked; [`OrchestrationClient`] asks it by HTTP;
//! - [`WorkerApiClient`]: what a worker can be asked; [`WorkerClient`] asks it by HTTP.
//!
//! The traits are for callers that want to be tested without a server.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use serde_json::json;
//! use tasker_client::{ClientError, OrchestrationApiClient, OrchestrationClient};
//! use tasker_api::{CreateTask, TaskState};
//!
//! # async fn example() -> Result<(), ClientError> {
//! let tasker = OrchestrationClient::new("http://127.0.0.1:8080")?;
//! let task = tasker
//!     .create_task(&CreateTask {
//!         namespace: "linear_workflow".to_owned(),
//!         name: "mathematical_sequence".to_owned(),
//!         version: None,
//!         context: [("even_number".to_owned(), json!(6))].into_iter().collect(),
//!         // With a key the request is safe to repeat, so the client repeats it if the server cannot be reached.
//!         idempotency_key: Some("order-4711".to_owned()),
//!         priority: None,
//!         tags: None,
//!     })
//!     .await?;
//! let task = tasker.wait_for_task(task.task_uuid, Duration::from_secs(60)).await?;
//! assert_eq!(task.summary.status, TaskState::Completed);
//! # Ok(())
//! # }
//! ```
//!
//! # Time limits and repeated requests
//!
//! A connection is made within 2 seconds and a request answered within 10, plus the time that it asks the server to wait.
//! Requests that are safe to repeat (those that only read, and [`create_task`](OrchestrationApiClient::create_task) with an
//! idempotency key) are repeated twice, shortly after, if the server cannot be reached, breaks off, or answers 502, 503 or 504.

mod error;
mod http;
mod orchestration;
mod tls;
mod worker;

pub use error::ClientError;
pub use orchestration::{OrchestrationApiClient, OrchestrationClient};
pub use worker::{WorkerApiClient, WorkerClient};
