//! The worker: runs the steps of tasks with your handlers.
//!
//! A handler is an async function from a [`StepContext`] to a [`HandlerResult`], registered under the `callable` name
//! that task templates use. A complete worker:
//!
//! ```no_run
//! use serde::Deserialize;
//! use serde_json::json;
//! use tasker_engine::database;
//! use tasker_runtime::{settings::Settings, shutdown};
//! use tasker_worker::{HandlerError, HandlerResult, StepContext, Worker};
//!
//! const GREETING: &str = "
//! name: greeting
//! namespace_name: hello
//! version: 1.0.0
//! steps:
//!   - name: greet
//!     handler: { callable: hello.greet }
//!   - name: shout
//!     handler: { callable: hello.shout }
//!     dependencies: [greet]
//! ";
//!
//! #[derive(Deserialize)]
//! struct Input {
//!     name: String,
//! }
//!
//! async fn greet(step: StepContext) -> HandlerResult {
//!     let Input { name } = step.input()?;
//!     if name.is_empty() {
//!         return Err(HandlerError::permanent("nobody to greet"));
//!     }
//!     Ok(json!(format!("Hello, {name}")))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let settings = Settings::load(None)?; // defaults, and DATABASE_URL
//!     let pool = database::connect(&settings.database, "hello-worker").await?;
//!     let worker = Worker::builder(settings.worker, pool)
//!         .template(GREETING)
//!         .handler("hello.greet", greet)
//!         .handler("hello.shout", |step: StepContext| async move {
//!             let greeting: String = step.dependency("greet")?;
//!             Ok(json!(greeting.to_uppercase()))
//!         })
//!         .start()
//!         .await?;
//!     println!("status at {}/v1/worker/status", worker.url());
//!     worker.run_until(shutdown::on_signal()?.cancelled_owned()).await;
//!     Ok(())
//! }
//! ```
//!
//! **Handlers run at least once.** A result is recorded exactly once, but a worker may die between the work and the record,
//! and then the step runs again: make effects on other systems repeatable, with keys made of
//! [`StepContext::task_id`] and [`StepContext::step_name`].
//!
//! **Handlers share threads.** Work that blocks or computes for long belongs into `tokio::task::spawn_blocking`.
//!
//! **Nothing to tidy up.** A worker that dies loses nothing: its leases end, and others start its steps again.
//! [`Worker::stop`] hands back what does not finish in time, so that nobody has to wait for the leases.
//!
//! How it works: one small loop per job, in one module each, all on the state of `shared`.
//!
//! | module | job |
//! |---|---|
//! | `claim` | claims steps while slots are free; sleeps until a notification or the next due message |
//! | `attempt` | runs one attempt of a step: time limit, panics, cancellation |
//! | `record` | records finished attempts, in natural batches; starts the steps that this hands over |
//! | `lease` | extends the leases of running steps; cancels those that were lost |
//! | `heartbeat` | tells the database that the worker lives |
//! | `rest` | the status API |

mod attempt;
mod builder;
mod claim;
mod context;
mod error;
mod handlers;
mod heartbeat;
mod lease;
mod look_back;
mod metrics;
mod outage;
mod outcome;
mod queues;
mod record;
mod rest;
mod running;
mod shared;
mod wake;
mod worker;

pub use builder::{StartError, WorkerBuilder};
pub use context::StepContext;
pub use error::{HandlerError, HandlerResult};
pub use worker::Worker;
