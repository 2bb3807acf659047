//! Health and versions of a running system.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::check::days;

/// The response to `GET /health`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Healthy if every check is healthy.
    pub status: HealthStatus,
    /// The checks by name, such as `database`.
    pub checks: BTreeMap<String, HealthCheck>,
}

/// One check of a [`Health`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// Whether the checked part works.
    pub status: HealthStatus,
    /// What is wrong, if something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Health {
    /// Combines checks by name, such as `database`. Without checks, the process merely runs.
    pub fn of<'a>(checks: impl IntoIterator<Item = (&'a str, HealthCheck)>) -> Self {
        let checks: BTreeMap<_, _> = checks.into_iter().map(|(name, check)| (name.to_owned(), check)).collect();
        let healthy = checks.values().all(|check| check.status == HealthStatus::Healthy);
        Self { status: if healthy { HealthStatus::Healthy } else { HealthStatus::Unhealthy }, checks }
    }

    /// The HTTP status of the response: 200 if healthy, otherwise 503.
    pub fn http_status(&self) -> u16 {
        match self.status {
            HealthStatus::Healthy => 200,
            HealthStatus::Unhealthy => 503,
        }
    }
}

impl HealthCheck {
    /// The checked part works.
    pub fn healthy() -> Self {
        Self { status: HealthStatus::Healthy, message: None }
    }

    /// The checked part does not work, for this reason.
    pub fn unhealthy(message: impl Into<String>) -> Self {
        Self { status: HealthStatus::Unhealthy, message: Some(message.into()) }
    }
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
    /// `extension`, or `sql` if PostgreSQL does not offer the extension.
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
    /// The name of the PGMQ queue with its domain events. None if no template of the namespace publishes any.
    #[serde(default)]
    pub event_queue: Option<String>,
    /// How many templates it has. Each version counts.
    pub templates: i64,
    /// Since when it is paused: none of its steps start. None if it is not paused.
    #[serde(default)]
    pub paused_at: Option<DateTime<Utc>>,
    /// How long its finished tasks are kept, in days; 0 means forever. None: as the settings of the server say.
    #[serde(default)]
    pub finished_tasks_days: Option<u32>,
}

/// The request `PATCH /v1/namespaces/{namespace}`. A field that is absent does not change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchNamespace {
    /// True pauses the namespace: none of its steps start, and running steps end. False resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How long finished tasks are kept, in days: 0 to 36500. 0 means forever, and null as the settings of the server
    /// say.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, maximum = 36_500)]
    pub finished_tasks_days: Option<Option<u32>>,
}

/// Reads a field that is present, so that null differs from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    days(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unhealthy_check_makes_the_whole_unhealthy() {
        let checks = || [("database", HealthCheck::healthy()), ("worker", HealthCheck::unhealthy("it is draining"))];
        assert_eq!(Health::of([]).http_status(), 200);
        assert_eq!(Health::of(checks().into_iter().take(1)).http_status(), 200);
        let health = Health::of(checks());
        assert_eq!((health.status, health.http_status()), (HealthStatus::Unhealthy, 503));
        assert_eq!(health.checks["worker"].message.as_deref(), Some("it is draining"));
    }
}
