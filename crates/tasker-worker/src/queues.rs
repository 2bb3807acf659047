//! The queues of the namespaces that a worker serves.

use std::time::Duration;

use sqlx::PgPool;

/// Makes sure that the namespaces exist. Returns the channels on which their new messages are told.
pub(crate) async fn ensure(pool: &PgPool, namespaces: &[String]) -> sqlx::Result<Vec<String>> {
    // One transaction each: making a queue locks out others that make one.
    for namespace in namespaces {
        sqlx::query("select tasker.ensure_namespace($1)").bind(namespace).execute(pool).await?;
    }
    let queues: Vec<String> = sqlx::query_scalar("select tasker.queue_name(n) from unnest($1::text[]) n")
        .bind(namespaces)
        .fetch_all(pool)
        .await?;
    Ok(queues.iter().map(|queue| pgmq_notify::insert_channel(queue)).collect())
}

/// How long until a message of the namespaces becomes visible; none if there is no message.
pub(crate) async fn next_due(pool: &PgPool, namespaces: &[String]) -> sqlx::Result<Option<Duration>> {
    let seconds: Option<f64> = sqlx::query_scalar("select extract(epoch from tasker.next_due($1))::float8")
        .bind(namespaces)
        .fetch_one(pool)
        .await?;
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
}
