//! Health and facts of a running system.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /health`: 200 if healthy, else 503.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Healthy if every check is.
    pub status: HealthStatus,
    /// The checks by name, such as `database`.
    pub checks: BTreeMap<String, HealthCheck>,
}

/// One check of a [`Health`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// Whether the checked part works.
    pub status: HealthStatus,
    /// What is wrong, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It works.
    Healthy,
    /// It does not.
    Unhealthy,
}

/// `GET /v1/system/info`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SystemInfo {
    /// Tasker's version.
    pub version: String,
    /// The number of the newest migration of the database.
    pub schema_version: i64,
    /// PostgreSQL's version.
    pub postgresql_version: String,
    /// How PGMQ is installed.
    pub pgmq: PgmqInfo,
    /// When this server started.
    pub started_at: DateTime<Utc>,
}

/// How PGMQ is installed in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PgmqInfo {
    /// PGMQ's version.
    pub version: String,
    /// `extension`, or `sql` where the server offers no such extension.
    pub installed_as: String,
}

/// `GET /v1/namespaces`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamespaceList {
    /// All namespaces, by name.
    pub namespaces: Vec<NamespaceSummary>,
}

/// A namespace and its queue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamespaceSummary {
    /// The namespace.
    pub namespace: String,
    /// The name of its PGMQ queue.
    pub queue: String,
    /// How many templates it has, each version counted.
    pub templates: i64,
}
