//! Namespaces and their events, and the versions of PostgreSQL and PGMQ.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::FromRow;
use tasker_api::{DomainEvent, NamespaceSummary, PatchNamespace, PgmqInfo};

use crate::Engine;
use crate::arguments::count;
use crate::statements::statements;

statements! {
    LIST_NAMESPACES = "select n.namespace, n.queue, n.event_queue, n.paused_at, n.finished_tasks_days, count(t.template_id) as templates
        from tasker.namespaces n left join tasker.task_templates t using (namespace)
        group by n.namespace order by n.namespace";
    GET_NAMESPACE = "select n.namespace, n.queue, n.event_queue, n.paused_at, n.finished_tasks_days,
            (select count(*) from tasker.task_templates t where t.namespace = n.namespace) as templates
        from tasker.namespaces n where n.namespace = $1";
    SET_NAMESPACE = "select tasker.set_namespace($1, $2, $3)";
    LIST_EVENTS = "select msg_id, published_at, reads, event from tasker.list_events($1, $2, $3)";
    IS_READ_ONLY = "select current_setting('transaction_read_only')::boolean";
    POSTGRESQL_VERSION = "select current_setting('server_version')";
    PGMQ_EXTENSION = "select extversion from pg_extension where extname = 'pgmq'";
    PGMQ_SQL = "select version from pgmq.__pgmq_migrations order by string_to_array(version, '.')::int[] desc limit 1";
}

#[derive(FromRow)]
struct NamespaceRow {
    namespace: String,
    queue: String,
    event_queue: Option<String>,
    paused_at: Option<DateTime<Utc>>,
    finished_tasks_days: Option<i32>,
    templates: i64,
}

impl From<NamespaceRow> for NamespaceSummary {
    fn from(row: NamespaceRow) -> Self {
        Self {
            namespace: row.namespace,
            queue: row.queue,
            event_queue: row.event_queue,
            templates: row.templates,
            paused_at: row.paused_at,
            finished_tasks_days: row.finished_tasks_days.and_then(|days| u32::try_from(days).ok()),
        }
    }
}

impl Engine {
    /// Lists all namespaces, ordered by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_namespaces(&self) -> sqlx::Result<Vec<NamespaceSummary>> {
        let rows: Vec<NamespaceRow> = sqlx::query_as(LIST_NAMESPACES).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(NamespaceSummary::from).collect())
    }

    /// Returns a namespace. None if it does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_namespace(&self, namespace: &str) -> sqlx::Result<Option<NamespaceSummary>> {
        let row: Option<NamespaceRow> =
            sqlx::query_as(GET_NAMESPACE).bind(namespace).fetch_optional(&self.pool).await?;
        Ok(row.map(NamespaceSummary::from))
    }

    /// Pauses or resumes a namespace, and sets how long its finished tasks are kept. Returns whether it exists.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed then.
    pub async fn set_namespace(&self, namespace: &str, change: &PatchNamespace) -> sqlx::Result<bool> {
        let days = change.finished_tasks_days.map(|days| days.map_or(-1, count));
        sqlx::query_scalar(SET_NAMESPACE).bind(namespace).bind(change.paused).bind(days).fetch_one(&self.pool).await
    }

    /// Lists up to `limit` domain events that are in the queue of a namespace, the oldest first: those after the message
    /// `after`, or the newest. They stay there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_events(&self, namespace: &str, after: Option<i64>, limit: u32) -> sqlx::Result<Vec<DomainEvent>> {
        let rows: Vec<(i64, DateTime<Utc>, i32, Value)> =
            sqlx::query_as(LIST_EVENTS).bind(namespace).bind(after).bind(count(limit)).fetch_all(&self.pool).await?;
        let event = |(msg_id, published_at, reads, event)| DomainEvent { msg_id, published_at, reads, event };
        Ok(rows.into_iter().map(event).collect())
    }

    /// Checks that the database responds, and asks whether it refuses all writes: it is a standby, or
    /// `default_transaction_read_only` is on.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn is_read_only(&self) -> sqlx::Result<bool> {
        sqlx::query_scalar(IS_READ_ONLY).fetch_one(&self.pool).await
    }

    /// Returns PostgreSQL's version.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn postgresql_version(&self) -> sqlx::Result<String> {
        sqlx::query_scalar(POSTGRESQL_VERSION).fetch_one(&self.pool).await
    }

    /// Returns PGMQ's version and how it is installed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pgmq_info(&self) -> sqlx::Result<PgmqInfo> {
        let extension: Option<String> = sqlx::query_scalar(PGMQ_EXTENSION).fetch_optional(&self.pool).await?;
        if let Some(version) = extension {
            return Ok(PgmqInfo { version, installed_as: "extension".to_owned() });
        }
        let version: Option<String> = sqlx::query_scalar(PGMQ_SQL).fetch_optional(&self.pool).await?;
        Ok(PgmqInfo { version: version.unwrap_or_else(|| "unknown".to_owned()), installed_as: "sql".to_owned() })
    }
}
