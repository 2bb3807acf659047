//! Namespaces, and the versions of PostgreSQL and PGMQ.

use sqlx::FromRow;

use tasker_api::{NamespaceSummary, PgmqInfo};

use crate::Engine;
use crate::statements::statements;

statements! {
    LIST_NAMESPACES = "select n.namespace, n.queue, count(t.template_id) as templates
        from tasker.namespaces n left join tasker.task_templates t using (namespace)
        group by n.namespace order by n.namespace";
    IS_READ_ONLY = "select current_setting('transaction_read_only')::boolean";
    POSTGRESQL_VERSION = "select current_setting('server_version')";
    PGMQ_EXTENSION = "select extversion from pg_extension where extname = 'pgmq'";
    PGMQ_SQL = "select version from pgmq.__pgmq_migrations order by string_to_array(version, '.')::int[] desc limit 1";
}

#[derive(FromRow)]
struct NamespaceRow {
    namespace: String,
    queue: String,
    templates: i64,
}

impl Engine {
    /// Lists all namespaces, ordered by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_namespaces(&self) -> sqlx::Result<Vec<NamespaceSummary>> {
        let rows: Vec<NamespaceRow> = sqlx::query_as(LIST_NAMESPACES).fetch_all(&self.pool).await?;
        Ok(rows
            .into_iter()
            .map(|NamespaceRow { namespace, queue, templates }| NamespaceSummary { namespace, queue, templates })
            .collect())
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
