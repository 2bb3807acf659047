//! The settings of the server and the worker.
//!
//! Each has a default that works on a laptop. A settings file is TOML with the sections of [`Settings`]; `config/tasker`
//! holds the base files and one overlay per environment, which `config-builder` merges into one file.

mod access;
mod build;
mod error;
mod files;
mod validate;

pub use access::{Access, ApiKey, Scope};
pub use build::{Built, build, contexts, environments};
pub use error::{SettingProblem, SettingsError};
pub use validate::without_password;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// All settings, by section: one section per part of the system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How to reach PostgreSQL.
    pub database: Database,
    /// What the logs look like.
    pub logging: Logging,
    /// The server.
    pub orchestration: Orchestration,
    /// How long the server keeps what is finished.
    pub retention: Retention,
    /// The worker.
    pub worker: Worker,
}

/// How to reach PostgreSQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host:port/database`; `DATABASE_URL` overrides it. Empty: must be given.
    pub url: String,
    /// Connections of one process at most, 2 to 100, besides one for notifications.
    pub max_connections: u32,
    /// How long to wait for a connection, in milliseconds: 100 to 60,000.
    pub acquire_timeout_ms: u64,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: String::new(), max_connections: 6, acquire_timeout_ms: 3_000 }
    }
}

/// What the logs look like. They go to standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// Text for people or JSON for programs.
    pub format: LogFormat,
    /// Which events: a level, or directives such as `info,tasker_worker=debug`. `RUST_LOG` overrides it.
    pub filter: String,
}

impl Default for Logging {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info,sqlx::postgres::notice=warn".to_owned() }
    }
}

/// The format of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// One line of text per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// The server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Orchestration {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The largest request body, in bytes: 1,024 to 67,108,864 (64 MiB).
    pub max_body_bytes: usize,
    /// The longest `?wait=`, in milliseconds, 0 to 300,000; a longer one is cut.
    pub max_wait_ms: u64,
    /// How long requests may take to finish at shutdown, in milliseconds: 0 to 600,000.
    pub shutdown_timeout_ms: u64,
    /// Who may use the API.
    pub access: Access,
}

impl Default for Orchestration {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            max_body_bytes: 1024 * 1024,
            max_wait_ms: 60_000,
            shutdown_timeout_ms: 10_000,
            access: Access::default(),
        }
    }
}

/// How long the server keeps what is finished. It looks once a minute and deletes in small batches; of several servers one at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How many days a completed, failed or cancelled task is kept after its end, with its steps and its history: 0 to 36,500, 0
    /// for ever. Tasks that are blocked by failures are kept in any case. A deleted task frees its idempotency key: the
    /// same request, sent again, makes a new task then.
    pub finished_tasks_days: u32,
    /// How many days a message of somebody else's that named no step is kept in `tasker.rejected_messages`: 0 to 36,500, 0 for ever.
    pub rejected_messages_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { finished_tasks_days: 30, rejected_messages_days: 30 }
    }
}

/// The worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// The address of its status API.
    pub host: IpAddr,
    /// The port of its status API; 0 takes a free one.
    pub port: u16,
    /// Its name, unique among running workers; `TASKER_WORKER_ID` overrides it. Empty: made from the host's name and at random.
    pub worker_id: String,
    /// The namespaces to serve, at most 256; `TASKER_NAMESPACES` (comma-separated) overrides it. Empty: those of its handlers.
    pub namespaces: Vec<String>,
    /// How many steps it runs at once, 1 to 10,000.
    pub max_concurrent: u32,
    /// How long a claimed step is its own without a heartbeat, in milliseconds: 1,000 to 3,600,000. A dead worker's steps
    /// start again after this time.
    pub lease_ms: u64,
    /// How often it looks for steps when no notification comes, in milliseconds: 10 to 60,000.
    pub poll_interval_ms: u64,
    /// How long running steps may take to finish at shutdown, in milliseconds, 0 to 600,000; then they are handed back.
    pub shutdown_timeout_ms: u64,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8081,
            worker_id: String::new(),
            namespaces: Vec::new(),
            max_concurrent: 128,
            lease_ms: 30_000,
            poll_interval_ms: 1_000,
            shutdown_timeout_ms: 10_000,
        }
    }
}

impl Database {
    /// How long to wait for a connection.
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }
}

impl Orchestration {
    /// The longest `?wait=`.
    pub fn max_wait(&self) -> Duration {
        Duration::from_millis(self.max_wait_ms)
    }

    /// How long requests may take to finish at shutdown.
    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}

impl Retention {
    /// How long finished tasks are kept; none: for ever.
    pub fn finished_tasks(&self) -> Option<Duration> {
        days(self.finished_tasks_days)
    }

    /// How long rejected messages are kept; none: for ever.
    pub fn rejected_messages(&self) -> Option<Duration> {
        days(self.rejected_messages_days)
    }
}

fn days(number: u32) -> Option<Duration> {
    (number > 0).then(|| Duration::from_secs(u64::from(number) * 24 * 3600))
}

impl Worker {
    /// How long a claimed step is its own without a heartbeat.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How often it looks for steps when no notification comes.
    pub fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    /// How long running steps may take to finish at shutdown.
    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}
