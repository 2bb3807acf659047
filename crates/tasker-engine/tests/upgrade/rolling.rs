//! A rolling upgrade: the database first, under the load of programs of 0.1, then the programs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sqlx::PgPool;
use tasker_engine::database::pool_options;
use tasker_engine::{Engine, Operation, OperationOutcome, StepOutcome, StepResult, migrate};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{database_of_0_1, release_0_1};

/// Short, so that the steps of a killed worker run again soon.
const LEASE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "upgrade";

/// The results that were accepted, by task and step number.
type Accepted = Arc<Mutex<HashMap<(Uuid, i16), Vec<Value>>>>;

/// The result of an attempt: the token makes it unique.
fn result(token: Uuid) -> Value {
    json!({ "by": token })
}

/// A worker of 0.1. Every seventh result is a retryable error.
async fn old_worker(url: String, name: &str, accepted: Accepted, stop: CancellationToken) -> Result<()> {
    let pool = release_0_1::pool(&url).await?;
    let mut count = 0;
    while !stop.is_cancelled() {
        let mut steps = release_0_1::start_steps(&pool, name, 5, LEASE).await?;
        if steps.is_empty() {
            release_0_1::other_calls(&pool, name).await?;
        }
        while !steps.is_empty() {
            // A lease may have ended meanwhile, so not all of them need to be held.
            let held = release_0_1::extend_leases(&pool, LEASE, &steps).await?;
            ensure!(held <= steps.len());
            let results: Vec<_> = steps
                .drain(..)
                .map(|step| {
                    count += 1;
                    if count % 7 == 0 {
                        (step, "retryable_error", json!({ "kind": "test", "message": "on purpose" }))
                    } else {
                        let result = result(step.token);
                        (step, "completed", result)
                    }
                })
                .collect();
            let answer = release_0_1::complete_steps(&pool, name, LEASE, &results).await?;
            let (refused, handed): (Vec<_>, Vec<_>) = answer.into_iter().partition(|step| step.refused);
            for (step, outcome, payload) in results {
                if outcome == "completed" && !refused.iter().any(|one| one.token == step.token) {
                    accepted.lock().entry((step.task_id, step.step_no)).or_default().push(payload);
                }
            }
            steps = handed;
        }
    }
    pool.close().await;
    Ok(())
}

/// A server of 0.1: creates tasks until it is stopped, and returns them.
async fn old_creator(url: String, stop: CancellationToken) -> Result<Vec<Uuid>> {
    let pool = release_0_1::pool(&url).await?;
    let mut tasks = Vec::new();
    while !stop.is_cancelled() {
        let task_id = Uuid::now_v7();
        let outcome = release_0_1::create_task(&pool, task_id, &format!("rolling-{task_id}")).await?;
        ensure!(outcome == "created", "{outcome}");
        tasks.push(task_id);
    }
    pool.close().await;
    Ok(tasks)
}

async fn new_worker(url: String, accepted: Accepted, stop: CancellationToken) -> Result<()> {
    let engine = Engine::new(pool_options().max_connections(2).connect(&url).await?);
    let namespaces = [NAMESPACE.to_owned()];
    while !stop.is_cancelled() {
        let mut steps = engine.start_steps("new", &namespaces, 5, LEASE, &[None]).await?;
        while !steps.is_empty() {
            let results: Vec<_> = steps
                .iter()
                .map(|step| StepResult { step: step.step_ref(), outcome: StepOutcome::Completed(result(step.token)) })
                .collect();
            let completion = engine.complete_steps("new", &namespaces, 5, LEASE, &results).await?;
            for StepResult { step, .. } in results {
                if !completion.refused.contains(&(step.task_id, step.step_no)) {
                    accepted.lock().entry((step.task_id, step.step_no)).or_default().push(result(step.token));
                }
            }
            steps = completion.handed;
        }
    }
    engine.pool().close().await;
    Ok(())
}

/// Waits until a query returns true.
async fn until(pool: &PgPool, what: &str, query: &'static str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !sqlx::query_scalar::<_, bool>(query).fetch_one(pool).await? {
        if Instant::now() > deadline {
            bail!("{what}: not within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_while_programs_of_0_1_run() -> Result<()> {
    let postgres = database_of_0_1().await?;
    let pool = PgPool::connect(&postgres.url()).await?;
    // No step may run out of attempts: intended failures and lost leases can meet in one step.
    sqlx::query("update tasker.template_steps set max_attempts = 100").execute(&pool).await?;
    let accepted = Accepted::default();
    let (stop_creator, stop_old, stop_new) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let creator = tokio::spawn(old_creator(postgres.url(), stop_creator.clone()));
    let old = tokio::spawn(old_worker(postgres.url(), "old", Arc::clone(&accepted), stop_old.clone()));
    let killed = tokio::spawn(old_worker(postgres.url(), "killed", Arc::clone(&accepted), CancellationToken::new()));

    until(&pool, "0.1 completes tasks", "select count(*) > 20 from tasker.tasks where state = 'completed'").await?;
    migrate(&pool).await?;
    // The programs of 0.1 go on with the new schema.
    until(
        &pool,
        "0.1 completes tasks that it created after the upgrade",
        "select count(*) > 20 from tasker.tasks t, tasker.installation i
         where t.state = 'completed' and t.created_at > i.installed_at",
    )
    .await?;
    let new = tokio::spawn(new_worker(postgres.url(), Arc::clone(&accepted), stop_new.clone()));
    // The steps of a killed worker run again after their lease.
    killed.abort();
    match killed.await {
        Err(end) if end.is_cancelled() => {}
        ended => bail!("the worker ended before it was killed: {ended:?}"),
    }
    stop_creator.cancel();
    let created = creator.await??;
    stop_old.cancel();
    old.await??;
    until(
        &pool,
        "the new worker completes the rest",
        "select not exists (select from tasker.tasks where state in ('pending', 'in_progress'))",
    )
    .await?;
    stop_new.cancel();
    new.await??;

    let engine = Engine::new(pool.clone());
    let lost: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', id, t.state, (
             select string_agg(concat_ws(' ', s.step_no, s.state, s.error), ', ' order by s.step_no)
             from tasker.steps s where s.task_id = id))
         from unnest($1::uuid[]) id left join tasker.tasks t on t.task_id = id
         where t.state is distinct from 'completed'",
    )
    .bind(&created)
    .fetch_all(&pool)
    .await?;
    assert_eq!(lost, Vec::<String>::new(), "of {} tasks", created.len());
    // Every result that was accepted is the one that is stored, and there is one for each step. A killed worker may not have
    // heard that its last results were accepted.
    let stored: Vec<(Uuid, i16, Value)> =
        sqlx::query_as("select task_id, step_no, result from tasker.steps where task_id = any ($1)")
            .bind(&created)
            .fetch_all(&pool)
            .await?;
    let accepted = std::mem::take(&mut *accepted.lock());
    let mut unheard = 0;
    for (task_id, step_no, result) in &stored {
        match accepted.get(&(*task_id, *step_no)).map(Vec::as_slice) {
            Some([one]) => assert_eq!(one, result),
            Some(several) => bail!("step {step_no} of {task_id} was completed {} times", several.len()),
            None => unheard += 1,
        }
    }
    assert!(unheard <= 5, "{unheard} results were stored that no worker sent");
    assert_eq!(crate::checks::violations(&pool).await?, Vec::<String>::new());

    // Tasks of the dump: what was blocked and cancelled still is, and can be operated on.
    let task = |n: u8| Uuid::parse_str(&format!("019a3f00-0000-7000-8000-00000000000{n}"));
    let states: Vec<String> =
        sqlx::query_scalar("select state::text from tasker.tasks where task_id < $1 order by task_id")
            .bind(task(9)?)
            .fetch_all(&pool)
            .await?;
    assert_eq!(
        states,
        [
            "completed",
            "completed",
            "blocked_by_failures",
            "completed",
            "completed",
            "cancelled",
            "completed",
            "completed"
        ]
    );
    let retried = engine.operate(task(3)?, &Operation::Retry { step: None }, None, None).await?;
    assert_eq!(retried, OperationOutcome::Done);
    let step = engine.start_steps("new", &[NAMESPACE.to_owned()], 1, LEASE, &[None]).await?.pop();
    assert_eq!(step.context("the step that was retried")?.task_id, task(3)?);
    Ok(())
}
