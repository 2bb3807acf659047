//! Namespaces and their queues, as a worker sees them.

use std::time::Duration;

use crate::Engine;
use crate::statements::statements;

statements! {
    ENSURE_NAMESPACE = "select tasker.ensure_namespace($1)";
    QUEUE_NAMES = "select n, tasker.queue_name(n) from unnest($1::text[]) n";
    NEXT_DUE = "select namespace, extract(epoch from due)::float8 from tasker.next_due($1)";
}

impl Engine {
    /// Creates the missing namespaces, each with its queue. Returns every namespace with the name of its queue.
    ///
    /// # Errors
    /// When the database fails. Some of the namespaces may have been created.
    pub async fn ensure_namespaces(&self, namespaces: &[String]) -> sqlx::Result<Vec<(String, String)>> {
        // Use one transaction for each, because the creation of a queue takes a lock that blocks all other creations.
        for namespace in namespaces {
            sqlx::query(ENSURE_NAMESPACE).bind(namespace).execute(&self.pool).await?;
        }
        sqlx::query_as(QUEUE_NAMES).bind(namespaces).fetch_all(&self.pool).await
    }

    /// Returns the time until the next message becomes visible in each namespace. It is zero if a message is visible
    /// now. The list omits namespaces without messages.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_due(&self, namespaces: &[String]) -> sqlx::Result<Vec<(String, Duration)>> {
        let due: Vec<(String, f64)> = sqlx::query_as(NEXT_DUE).bind(namespaces).fetch_all(&self.pool).await?;
        let duration = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Ok(due.into_iter().map(|(namespace, seconds)| (namespace, duration(seconds))).collect())
    }
}
