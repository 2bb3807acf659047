//! The worker runs the steps of tasks with your handlers.
//!
//! A handler is an async function that takes a [`StepContext`] and returns a [`HandlerResult`]. It is registered under
//! the `callable` name that task templates use. This is a complete worker:
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
//!         return Err(HandlerError::permanent("the name is empty"));
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
//! **Handlers run at least once.** A result is recorded exactly once. But if a worker dies after the work and before
//! the result is recorded, the step runs again. Make effects on other systems idempotent, with
//! [`StepContext::key`].
//!
//! **Handlers share threads.** Run work that blocks, or that computes for a long time, in
//! `tokio::task::spawn_blocking`.
//!
//! **A crash needs no cleanup.** When a worker dies, its leases expire and other workers start its steps again.
//! [`Worker::stop`] releases the steps that do not finish in time, so that other workers need not wait for the leases.
//!
//! Inside, each job is a small loop in a module of its own. The loops share the state in `shared`.
//!
//! | module | job |
//! |---|---|
//! | `claim` | claims steps while there are free slots; sleeps until a notification or the next due message |
//! | `attempt` | runs one attempt of a step: time limit, panics, cancellation |
//! | `record` | records finished attempts in batches; starts the steps that the same call claims |
//! | `lease` | extends the leases of running steps; cancels the attempts whose leases are lost |
//! | `trace` | makes the span of an attempt, if its task is traced |
//! | `heartbeat` | tells the database that the worker is alive |
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
mod record;
mod rest;
mod running;
mod shared;
mod trace;
mod wake;
mod worker;

pub use builder::{StartError, WorkerBuilder};
pub use context::StepContext;
pub use error::{HandlerError, HandlerResult};
pub use outcome::{check_result, check_wait};
pub use tasker_engine::Wait;
pub use worker::Worker;
