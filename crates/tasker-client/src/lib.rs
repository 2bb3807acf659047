//! Typed clients for Tasker's HTTP APIs.
//!
//! - [`OrchestrationClient`] calls a server; [`OrchestrationApiClient`] is the trait with its calls;
//! - [`WorkerClient`] calls a worker; [`WorkerApiClient`] is the trait with its calls.
//!
//! The traits let callers be tested without a server.
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
//!         // With a key, the client repeats the request if the server cannot be reached.
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
//! Connecting may take 2 seconds, and a response 10 seconds plus the time that the request asks the server to wait.
//! Requests that are safe to repeat are repeated up to twice if the server cannot be reached, the connection breaks,
//! or the response is 502, 503 or 504. These are requests that only read, and
//! [`create_task`](OrchestrationApiClient::create_task) with an idempotency key.

mod error;
mod http;
mod orchestration;
mod tls;
mod worker;

pub use error::ClientError;
pub use orchestration::{OrchestrationApiClient, OrchestrationClient};
pub use worker::{WorkerApiClient, WorkerClient};
