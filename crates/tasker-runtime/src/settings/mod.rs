//! The settings of the server and the worker.
//!
//! Every setting has a default that works on a laptop. A settings file is TOML with the sections of [`Settings`].
//! `config/tasker` holds base files and one overlay for each environment; `config-builder` merges them into one
//! file.

mod access;
mod build;
mod error;
mod files;
pub mod ranges;
mod validate;

pub use access::{Access, ApiKey, Scope};
pub use build::{Built, build, contexts, environments};
pub use error::{SettingProblem, SettingsError};
pub use files::environment;
pub use validate::without_password;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// All settings, with one section for each part of the system. [`ranges`] has the allowed range of every number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How to reach PostgreSQL.
    pub database: Database,
    /// What the logs look like.
    pub logging: Logging,
    /// The server.
    pub orchestration: Orchestration,
    /// How long the server keeps finished tasks and rejected messages.
    pub retention: Retention,
    /// Traces for OpenTelemetry.
    pub telemetry: Telemetry,
    /// The worker.
    pub worker: Worker,
}

/// How to reach PostgreSQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host:port/database`; `DATABASE_URL` overrides it. Required: the default is empty.
    pub url: String,
    /// How many connections one process opens at most. It opens one more for notifications.
    pub max_connections: u32,
    /// How long a call waits for a free connection, in milliseconds.
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
    /// Text on a terminal, otherwise JSON.
    Auto,
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// The server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Orchestration {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on. 0 takes a free port.
    pub port: u16,
    /// Host names by which clients may address the server, without port, such as `tasker.internal`. The server
    /// needs them to tell its own names from those of other web sites; see `docs/security.md`. IP addresses and
    /// `localhost` need no entry.
    pub allowed_hosts: Vec<String>,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How many bytes all request bodies together may take, beyond the first 16 KiB of each. It must be at least
    /// `max_body_bytes`.
    pub max_bodies_bytes: usize,
    /// The longest `?wait=`, in milliseconds. The server shortens a longer one to this.
    pub max_wait_ms: u64,
    /// How many client connections may be open. The limit on open files (`ulimit -n`) can reduce the number.
    pub max_connections: usize,
    /// How long a client may take to send the headers of a request, in milliseconds, counted from its connection or
    /// its first byte.
    pub header_timeout_ms: u64,
    /// How long a client may take to send the body of a request, in milliseconds.
    pub body_timeout_ms: u64,
    /// How long a connection may stay open between two requests, in milliseconds. It should be longer than the idle
    /// timeout of clients and proxies, so that they close connections first.
    pub idle_timeout_ms: u64,
    /// How long requests may take to finish at shutdown, in milliseconds.
    pub shutdown_timeout_ms: u64,
    /// Whether the server offers the web console at `/`.
    pub console: bool,
    /// Who may use the API.
    pub access: Access,
}

impl Default for Orchestration {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            allowed_hosts: Vec::new(),
            max_body_bytes: 1024 * 1024,
            max_bodies_bytes: 128 * 1024 * 1024,
            max_wait_ms: 60_000,
            max_connections: 10_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 120_000,
            shutdown_timeout_ms: 10_000,
            console: true,
            access: Access::default(),
        }
    }
}

/// How long the server keeps finished tasks, rejected messages and domain events. It looks once a minute and deletes in small
/// batches. If there are several servers, one deletes at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How many days a completed, failed or cancelled task is kept after its end, with its steps and its history. 0
    /// keeps it for ever. A task that is blocked by failures is always kept. Deleting a task frees its idempotency
    /// key: the same request, sent again, then creates a new task.
    pub finished_tasks_days: u32,
    /// How many days `tasker.rejected_messages` keeps a message that names no step. 0 keeps it for ever.
    pub rejected_messages_days: u32,
    /// How many days a domain event stays in its queue, if nobody deletes it before. 0 keeps it for ever.
    pub events_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { finished_tasks_days: 30, rejected_messages_days: 30, events_days: 7 }
    }
}

/// Traces for OpenTelemetry. They are off by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The address of the OTLP receiver (http/protobuf), such as `http://127.0.0.1:4318`, without `/v1/traces`;
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` overrides it. If it is empty, nothing is traced.
    pub otlp_endpoint: String,
    /// The share of the requests to trace, 0 to 1, if their caller has not decided; `OTEL_TRACES_SAMPLER` overrides it.
    pub sampling_ratio: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), sampling_ratio: 1.0 }
    }
}

/// The worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// The address of its status API.
    pub host: IpAddr,
    /// The port of its status API. 0 takes a free port.
    pub port: u16,
    /// Its name, unique among running workers; `TASKER_WORKER_ID` overrides it. If empty, the worker combines the
    /// name of its host with a random suffix.
    pub worker_id: String,
    /// The namespaces to serve, at most 256; `TASKER_NAMESPACES` (comma-separated) overrides it. If empty, the
    /// worker serves the namespaces of its handlers.
    pub namespaces: Vec<String>,
    /// How many steps it runs at once.
    pub max_concurrent: u32,
    /// How long a claimed step belongs to the worker without a heartbeat, in milliseconds. The steps of a dead
    /// worker start again after this time.
    pub lease_ms: u64,
    /// How often it looks for steps if no notification arrives, in milliseconds.
    pub poll_interval_ms: u64,
    /// How long running steps may take to finish at shutdown, in milliseconds. After that the worker returns them
    /// to the queue.
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
    /// How long a call waits for a free connection.
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }
}

impl Orchestration {
    /// The longest `?wait=`.
    pub fn max_wait(&self) -> Duration {
        Duration::from_millis(self.max_wait_ms)
    }

    /// How long a client may take to send the headers of a request.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// How long a client may take to send the body of a request.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// How long a connection may stay open between two requests.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    /// How long requests may take to finish at shutdown.
    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}

impl Retention {
    /// How long finished tasks are kept, or `None` for ever.
    pub fn finished_tasks(&self) -> Option<Duration> {
        days(self.finished_tasks_days)
    }

    /// How long rejected messages are kept, or `None` for ever.
    pub fn rejected_messages(&self) -> Option<Duration> {
        days(self.rejected_messages_days)
    }

    /// How long domain events are kept, or `None` for ever.
    pub fn events(&self) -> Option<Duration> {
        days(self.events_days)
    }
}

fn days(number: u32) -> Option<Duration> {
    (number > 0).then(|| Duration::from_secs(u64::from(number) * 24 * 3600))
}

impl Worker {
    /// The address of its status API.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// How long a claimed step belongs to the worker without a heartbeat.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How often it looks for steps if no notification arrives.
    pub fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    /// How long running steps may take to finish at shutdown.
    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }
}
