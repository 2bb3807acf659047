//! How long it takes until the work that a fault has interrupted goes on.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::time::sleep;
use uuid::Uuid;

use crate::field::Field;
use crate::plan::Kind;

/// Longer is a violation. Faults that overlap add up, and a lease is only two seconds.
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

/// Waits until every step of lost leases has gone on: it has started again, or is not wanted any more.
pub(crate) async fn of_leases(field: &Field, kind: Kind, leases: Leases) {
    let (tasks, rest): (Vec<_>, Vec<_>) = leases.into_iter().map(|(task, step, token)| (task, (step, token))).unzip();
    let (steps, tokens): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
    until(field, kind, "the steps of a worker that was lost have not gone on", async || {
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

/// Waits until a result has been recorded since PostgreSQL came back.
pub(crate) async fn of_postgres(field: &Field, kind: Kind, back_at: DateTime<Utc>) {
    until(field, kind, "no result has been recorded since PostgreSQL came back", async || {
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

async fn until(field: &Field, kind: Kind, failure: &str, gone_on: impl AsyncFn() -> sqlx::Result<bool>) {
    let begun = Instant::now();
    // PostgreSQL may be away: nothing is known then.
    while !gone_on().await.unwrap_or(false) {
        if begun.elapsed() > LIMIT {
            field.ledger.violation(format!("{kind}: {failure} within {LIMIT:?}"));
            return;
        }
        sleep(POLL).await;
    }
    field.ledger.recovery(kind, begun.elapsed());
}
