//! The border between the worker runtime and workers in other languages. It knows no language.
//!
//! A [`Bridge`] is a worker whose handlers are elsewhere. The host language asks for [events](Event) and returns
//! outcomes. Rust never calls the host, so no lock of an interpreter is held here, and a handler that blocks its
//! interpreter keeps its lease. Everything crosses the border as JSON text.
//!
//! ```no_run
//! use tasker_worker_bridge::{Bridge, Event, Options};
//!
//! let options = Options {
//!     templates: vec!["templates".into()],
//!     callables: vec!["hello.greet".into()],
//!     ..Options::default()
//! };
//! let bridge = Bridge::start(options)?;
//! while let Some(events) = bridge.next(64)? {
//!     for event in events {
//!         match event {
//!             Event::Step { id, .. } => _ = bridge.complete(id, r#"{"result": "Hello"}"#)?,
//!             Event::Cancelled { .. } | Event::Stopping | Event::Log { .. } => {}
//!         }
//!     }
//! }
//! # Ok::<(), tasker_worker_bridge::Error>(())
//! ```
//!
//! | module | job |
//! |---|---|
//! | `bridge` | starts and stops the worker; the calls of the host |
//! | `calls` | the handlers: sends each step to the host and waits for its outcome |
//! | `health` | asks a running worker whether it is healthy |
//! | `options` | the options of a worker, and the templates that they name |
//! | `outcome` | reads outcomes |
//! | `logs` | sends the runtime's log to the host |

mod bridge;
mod calls;
mod error;
mod health;
mod logs;
mod options;
mod outcome;

pub use bridge::Bridge;
pub use calls::Event;
pub use error::Error;
pub use health::check_health;
pub use options::Options;
pub use outcome::check;
