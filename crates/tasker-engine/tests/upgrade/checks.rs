//! What must be true of the tables after an upgrade under load.

use anyhow::Result;
use sqlx::PgPool;

const CHECKS: &[(&str, &str)] = &[
    (
        "steps with a result that did not complete exactly once",
        "select s.task_id || ' ' || s.step_no from tasker.steps s
         where s.state = 'completed' and 1 <> (
             select count(*) from tasker.transitions r
             where r.task_id = s.task_id and r.step_no = s.step_no and r.to_state = 'completed')",
    ),
    (
        "completed tasks that did not complete exactly once",
        "select t.task_id::text from tasker.tasks t
         where t.state = 'completed' and 1 <> (
             select count(*) from tasker.transitions r
             where r.task_id = t.task_id and r.step_no is null and r.to_state = 'completed')",
    ),
    (
        "tasks whose counters are wrong",
        "select t.task_id::text from tasker.tasks t
         join lateral (
             select count(*) filter (where s.state in ('completed', 'resolved_manually')) as completed,
                    count(*) filter (where s.state = 'failed') as failed,
                    count(*) filter (where s.state in ('enqueued', 'in_progress', 'waiting_for_retry')) as active
             from tasker.steps s where s.task_id = t.task_id
         ) n on true
         where (t.completed_steps, t.failed_steps, t.active_steps) is distinct from (n.completed, n.failed, n.active)",
    ),
];

/// The violations, in words.
pub(crate) async fn violations(pool: &PgPool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (what, query) in CHECKS {
        let rows: Vec<String> = sqlx::query_scalar(*query).fetch_all(pool).await?;
        found.extend(rows.into_iter().map(|row| format!("{what}: {row}")));
    }
    Ok(found)
}
