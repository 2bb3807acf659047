//! How long it takes until work that a fault interrupted continues.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::time::sleep;
use uuid::Uuid;

use crate::field::Field;
use crate::plan::Kind;

/// Longer is a violation. Overlapping faults add up; a lease alone is two seconds.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// Leases of a worker: task, step, token.
pub(crate) type Leases = Vec<(Uuid, i16, Uuid)>;

/// The leases that a worker holds.
pub(crate) async fn leases(field: &Field, worker_id: &str) -> sqlx::Result<Leases> {
    sqlx::query_as(
        "select s.task_id, s.step_no, s.token from tasker.tasks t join tasker.steps s using (task_id)
         where t.state in ('pending', 'in_progress') and s.state = 'in_progress' and s.worker_id = $1",
    )
    .bind(worker_id)
    .fetch_all(field.pool())
    .await
}

/// Waits until every step of the lost leases continues: it was started again, or is no longer needed.
pub(crate) async fn of_leases(field: &Field, kind: Kind, leases: Leases) {
    let (tasks, rest): (Vec<_>, Vec<_>) = leases.into_iter().map(|(task, step, token)| (task, (step, token))).unzip();
    let (steps, tokens): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
    until(field, kind, "the steps of a lost worker did not continue", async || {
        sqlx::query_scalar(
            "select not exists (
                 select from unnest($1::uuid[], $2::smallint[], $3::uuid[]) l(task_id, step_no, token)
                 join tasker.steps s on s.task_id = l.task_id and s.step_no = l.step_no
                 where s.token = l.token or s.state = 'enqueued')",
        )
        .bind(&tasks)
        .bind(&steps)
        .bind(&tokens)
        .fetch_one(field.pool())
        .await
    })
    .await;
}

/// Waits until a result is recorded after PostgreSQL is back.
pub(crate) async fn of_postgres(field: &Field, kind: Kind, back_at: DateTime<Utc>) {
    until(field, kind, "no result was recorded after PostgreSQL was back", async || {
        sqlx::query_scalar(
            "select exists (
                 select from tasker.tasks t join tasker.steps s using (task_id)
                 where t.state in ('pending', 'in_progress') and s.completed_at > $1)
             or not exists (select from tasker.tasks t where t.state in ('pending', 'in_progress'))",
        )
        .bind(back_at)
        .fetch_one(field.pool())
        .await
    })
    .await;
}

async fn until(field: &Field, kind: Kind, failure: &str, continues: impl AsyncFn() -> sqlx::Result<bool>) {
    let begun = Instant::now();
    // A query fails while PostgreSQL is unavailable.
    while !continues().await.unwrap_or(false) {
        let limit = field.ledger.limit(LIMIT);
        if begun.elapsed() > limit {
            field.ledger.violation(format!("{kind}: {failure} within {limit:?}"));
            return;
        }
        sleep(POLL).await;
    }
    field.ledger.recovery(kind, begun.elapsed());
}
