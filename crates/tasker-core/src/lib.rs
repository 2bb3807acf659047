//! Tasker for applications: durable workflows on PostgreSQL.
//!
//! What most programs need is here at the top: [`Worker`] runs the steps of tasks with your handlers, and
//! [`OrchestrationClient`] creates tasks and follows them. Everything else is in the modules:
//!
//! - [`worker`] and [`client`]: both of them, with their errors;
//! - [`api`]: requests and responses;
//! - [`template`]: task templates;
//! - [`runtime`] and [`engine`]: settings, logging and the database.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use serde_json::json;
//! use tasker_core::{CreateTask, OrchestrationApiClient, OrchestrationClient};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let tasker = OrchestrationClient::new("http://127.0.0.1:8080")?;
//! let task = tasker
//!     .create_task(&CreateTask {
//!         namespace: "hello".to_owned(),
//!         name: "greeting".to_owned(),
//!         version: None,
//!         context: [("name".to_owned(), json!("Ada"))].into_iter().collect(),
//!         idempotency_key: Some("greeting-for-ada".to_owned()),
//!         priority: None,
//!         tags: None,
//!     })
//!     .await?;
//! let task = tasker.wait_for_task(task.task_uuid, Duration::from_secs(60)).await?;
//! println!("task {} is {}", task.summary.task_uuid, task.summary.status);
//! # Ok(())
//! # }
//! ```
//!
//! The example `hello_worker` is a complete worker for this task.

pub use tasker_api as api;
pub use tasker_client as client;
pub use tasker_engine as engine;
pub use tasker_runtime as runtime;
pub use tasker_template as template;
pub use tasker_worker as worker;

pub use api::{CreateTask, TaskState};
pub use client::{OrchestrationApiClient, OrchestrationClient};
pub use engine::database;
pub use runtime::settings::Settings;
pub use runtime::shutdown;
pub use worker::{HandlerError, HandlerResult, StepContext, Worker};
