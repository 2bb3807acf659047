//! The queues of the namespaces that a worker serves.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgPool;

/// Makes sure that the namespaces exist. Returns them by the channels on which their new messages are told.
pub(crate) async fn ensure(pool: &PgPool, namespaces: &[String]) -> sqlx::Result<HashMap<String, String>> {
    // One transaction each: making a queue locks out others that make one.
    for namespace in namespaces {
        sqlx::query("select tasker.ensure_namespace($1)").bind(namespace).execute(pool).await?;
    }
    let queues: Vec<(String, String)> = sqlx::query_as("select tasker.queue_name(n), n from unnest($1::text[]) n")
        .bind(namespaces)
        .fetch_all(pool)
        .await?;
    Ok(queues.into_iter().map(|(queue, namespace)| (pgmq_notify::insert_channel(&queue), namespace)).collect())
}

/// How long until a message becomes visible, for each of the namespaces that has one.
pub(crate) async fn next_due(pool: &PgPool, namespaces: &[String]) -> sqlx::Result<Vec<(String, Duration)>> {
    let due: Vec<(String, f64)> =
        sqlx::query_as("select namespace, extract(epoch from due)::float8 from tasker.next_due($1)")
            .bind(namespaces)
            .fetch_all(pool)
            .await?;
    let duration = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    Ok(due.into_iter().map(|(namespace, seconds)| (namespace, duration(seconds))).collect())
}
