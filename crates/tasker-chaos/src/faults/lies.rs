//! A worker that misbehaves: it calls the engine's functions as no worker should, in sessions of its own.
//!
//! Each fault sees at once whether a false result was accepted. The checks of the campaign find other damage.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tasker_engine::{ClaimedStep, StepOutcome, StepRef, StepResult};
use tokio::time::sleep;
use uuid::Uuid;

use crate::consistency;
use crate::field::Field;
use crate::stack::LEASE;

/// The misbehaving worker's id.
pub(super) const LIAR: &str = "liar";
/// The namespaces of the load.
const NAMESPACES: [&str; 6] =
    ["faults", "linear_workflow", "diamond_workflow", "tree_workflow", "mixed_dag_workflow", "order_fulfillment"];
/// How long to wait until other workers' leases expire.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Some steps that workers hold now, with their valid tokens and messages.
async fn held(field: &Field, count: i64) -> sqlx::Result<Vec<StepRef>> {
    let mut connection = field.pool().acquire().await?;
    let messages = consistency::all_messages(&mut connection).await?;
    let query = format!(
        "select task_id, step_no, token, namespace, min(msg_id)
         from tasker.tasks t join tasker.steps s using (task_id)
         join ({messages}) m on m.message ->> 'task_id' = s.task_id::text and m.message ->> 'step_no' = s.step_no::text
         where t.state = 'in_progress' and s.state = 'in_progress' and s.worker_id <> $1
         group by task_id, step_no, token, namespace order by random() limit $2"
    );
    let rows: Vec<(Uuid, i16, Uuid, String, i64)> =
        sqlx::query_as(AssertSqlSafe(query)).bind(LIAR).bind(count).fetch_all(&mut *connection).await?;
    let step = |(task_id, step_no, token, namespace, msg_id)| StepRef { task_id, step_no, token, namespace, msg_id };
    Ok(rows.into_iter().map(step).collect())
}

/// Some steps whose leases were valid a moment ago and have expired.
async fn expired(field: &Field, count: i64) -> sqlx::Result<Vec<StepRef>> {
    let steps = held(field, count).await?;
    let begun = Instant::now();
    loop {
        let (tasks, numbers): (Vec<_>, Vec<_>) = steps.iter().map(|step| (step.task_id, step.step_no)).unzip();
        let tokens: Vec<Uuid> = sqlx::query_scalar(
            "select s.token from unnest($1::uuid[], $2::smallint[]) h(task_id, step_no)
             join tasker.steps s on s.task_id = h.task_id and s.step_no = h.step_no where s.token is not null",
        )
        .bind(tasks)
        .bind(numbers)
        .fetch_all(field.pool())
        .await?;
        let alive: HashSet<Uuid> = tokens.into_iter().collect();
        let enough = begun.elapsed() > PATIENCE || steps.iter().all(|step| !alive.contains(&step.token));
        if enough {
            return Ok(steps.into_iter().filter(|step| !alive.contains(&step.token)).collect());
        }
        sleep(POLL).await;
    }
}

/// Claims some steps, as a worker does.
pub(super) async fn claim(
    field: &Field,
    namespaces: &[&str],
    limit: u32,
    lease: Duration,
) -> sqlx::Result<Vec<ClaimedStep>> {
    let namespaces: Vec<_> = namespaces.iter().map(|&namespace| namespace.to_owned()).collect();
    field.engine.start_steps(LIAR, &namespaces, limit, lease, &[]).await
}

/// Sends results. Returns how many were refused.
pub(super) async fn deliver(field: &Field, results: &[StepResult]) -> sqlx::Result<usize> {
    let completion = field.engine.complete_steps(LIAR, &[], 0, LEASE, results).await?;
    field.ledger.refused(completion.refused.len());
    Ok(completion.refused.len())
}

/// Sends results that must be refused. Returns false if there are none.
pub(super) async fn deliver_in_vain(field: &Field, what: &str, results: &[StepResult]) -> sqlx::Result<bool> {
    let refused = deliver(field, results).await?;
    if refused != results.len() {
        let counted = results.len() - refused;
        field.ledger.violation(format!("{what}: {counted} of {} results were accepted: {results:?}", results.len()));
    }
    Ok(!results.is_empty())
}

/// A random outcome.
fn false_outcome(rng: &mut Rng) -> StepOutcome {
    let error = json!({ "kind": "lie", "message": "this is not true" });
    match rng.u8(0..4) {
        0 => StepOutcome::Completed(json!("a lie")),
        1 => StepOutcome::RetryableError(error),
        2 => StepOutcome::PermanentError(error),
        _ => StepOutcome::Released,
    }
}

fn false_results(steps: Vec<StepRef>, rng: &mut Rng) -> Vec<StepResult> {
    steps.into_iter().map(|step| StepResult { step, outcome: false_outcome(rng) }).collect()
}

pub(super) async fn wrong_token(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let mut steps = held(field, rng.i64(1..20)).await?;
    for step in &mut steps {
        step.token = Uuid::new_v4();
    }
    Ok(deliver_in_vain(field, "tokens that were never issued", &false_results(steps, rng)).await?)
}

pub(super) async fn old_token(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let steps = expired(field, rng.i64(1..20)).await?;
    Ok(deliver_in_vain(field, "expired tokens", &false_results(steps, rng)).await?)
}

pub(super) async fn foreign_token(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let mut steps = held(field, rng.i64(2..20)).await?;
    if steps.len() < 2 {
        return Ok(false);
    }
    // Each step gets the token of the next one.
    let mut tokens: Vec<_> = steps.iter().map(|step| step.token).collect();
    tokens.rotate_left(1);
    for (step, token) in steps.iter_mut().zip(tokens) {
        step.token = token;
    }
    Ok(deliver_in_vain(field, "tokens of other steps", &false_results(steps, rng)).await?)
}

pub(super) async fn claim_and_vanish(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let first = rng.usize(0..NAMESPACES.len());
    let mut namespaces = NAMESPACES;
    namespaces.rotate_left(first);
    Ok(!claim(field, &namespaces, rng.u32(1..10), LEASE).await?.is_empty())
}

pub(super) async fn return_twice(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let claimed = claim(field, &["faults"], rng.u32(1..10), LEASE).await?;
    let back = |step: &ClaimedStep| StepResult { step: step.step_ref(), outcome: StepOutcome::Released };
    let results: Vec<_> = claimed.iter().map(back).collect();
    // Refused only if the task was cancelled meanwhile.
    deliver(field, &results).await?;
    Ok(deliver_in_vain(field, "steps returned twice", &results).await?)
}

pub(super) async fn extend_lost(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let mut steps = expired(field, rng.i64(1..10)).await?;
    for mut step in held(field, rng.i64(1..10)).await? {
        step.token = Uuid::new_v4();
        steps.push(step);
    }
    let extended = field.engine.extend_leases(Duration::from_secs(600), &steps).await?;
    if !extended.is_empty() {
        field.ledger.violation(format!("expired leases were extended: {extended:?}"));
    }
    Ok(!steps.is_empty())
}
