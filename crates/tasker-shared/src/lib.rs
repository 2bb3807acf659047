//! What every part of Tasker shares: the shapes of the APIs, the task template format, the settings, and the engine's
//! SQL with its typed calls.
//!
//! - [`api`]: requests and responses of both HTTP APIs;
//! - [`limits`]: how large, long, deep or many what comes from outside may be; [`json`] reads it;
//! - [`template`]: task templates, parsed and checked;
//! - [`settings`]: settings files, merged and checked;
//! - [`database`]: connecting, and the schema's migrations;
//! - [`engine`]: the SQL functions of schema `tasker` as Rust methods;
//! - [`logging`], [`shutdown`], [`probe`]: what the binaries share: logs, signals, health checks.

pub mod api;
pub mod database;
pub mod engine;
pub mod json;
pub mod limits;
pub mod logging;
pub mod probe;
pub mod settings;
pub mod shutdown;
pub mod template;

/// The version of Tasker, as reported by every binary and API.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
