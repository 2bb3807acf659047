//! Many connections at once: creators that share keys, workers whose leases end while they work, operators who meddle. No call
//! may fail: locks are taken in one order (see `0001_schema.sql`), so there is no deadlock and nothing to try again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{TestRng, TestRunner};
use serde_json::{Value, json};
use sqlx::PgPool;
use tasker_engine::database::pool_options;
use tasker_engine::{ClaimedStep, CreateOutcome, Engine, NewTask, Operation, StepOutcome, StepRef, StepResult};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::facts::{self, Facts, StepId};
use crate::graphs::{self, NAMESPACES, step_name};
use crate::history::History;
use crate::invariants;
use crate::support::database;

const LEASE: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(60);
const CREATORS: u32 = 2;
const WORKERS: u32 = 10;
const OPERATORS: u32 = 4;
/// Each is asked for by every creator.
const KEYS: usize = 200;
/// Tasks without a key, of each creator.
const KEYLESS: usize = 50;

/// What the actors share.
struct Field {
    engine: Engine,
    template_ids: Vec<i64>,
    tasks: Mutex<Vec<Uuid>>,
    /// All claims of all workers, over or not.
    claims: Mutex<Vec<StepRef>>,
    /// What was sent for a step in the batch that was accepted.
    accepted: Mutex<BTreeMap<StepId, Vec<Value>>>,
    over: CancellationToken,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_never_wait_in_a_circle_and_lose_nothing() -> Result<()> {
    let postgres = database().await?;
    let pool = pool_options().max_connections(CREATORS + WORKERS + OPERATORS + 1).connect(&postgres.url()).await?;
    let mut runner = TestRunner::deterministic();
    let field = Arc::new(Field::new(pool.clone(), &mut runner).await?);

    let mut creators = JoinSet::new();
    for _ in 0..CREATORS {
        creators.spawn(create(Arc::clone(&field), runner.new_rng()));
    }
    let mut others = JoinSet::new();
    for number in 0..WORKERS {
        others.spawn(work(Arc::clone(&field), format!("w{number}"), runner.new_rng()));
    }
    for _ in 0..OPERATORS {
        others.spawn(meddle(Arc::clone(&field), runner.new_rng()));
    }
    let began = Instant::now();
    while let Some(ended) = creators.join_next().await {
        ended??;
    }
    while unfinished(&pool).await? > 0 {
        ensure!(began.elapsed() < DEADLINE, "{} tasks are not at their end", unfinished(&pool).await?);
        // An actor that ends now has failed.
        if let Ok(Some(ended)) = tokio::time::timeout(Duration::from_millis(20), others.join_next()).await {
            ended??;
        }
    }
    field.over.cancel();
    while let Some(ended) = others.join_next().await {
        ended??;
    }

    let tasks = field.tasks.lock().unwrap().clone();
    ensure!(tasks.len() == KEYS + KEYLESS * usize::try_from(CREATORS)?, "{} tasks were created", tasks.len());
    let facts = Facts::read(&pool, &tasks).await?;
    ensure!(facts.tasks.len() == tasks.len(), "tasks are missing");
    invariants::check(&facts, Utc::now())?;
    History::default().follow(&pool, &tasks, &facts).await?;
    nothing_acknowledged_is_lost(&field, &facts)?;
    empty_queues(&field, began).await?;
    pool.close().await;
    no_deadlocks(&postgres.url()).await
}

impl Field {
    async fn new(pool: PgPool, runner: &mut TestRunner) -> Result<Self> {
        let engine = Engine::new(pool);
        let mut template_ids = Vec::new();
        for number in 0..12 {
            let mut graph = graphs::graph().new_tree(runner).map_err(anyhow::Error::msg)?.current();
            for step in &mut graph {
                (step.base_ms, step.max_backoff_ms) = (step.base_ms / 100, 20);
            }
            let name = format!("t{number}");
            template_ids.push(graphs::apply(&engine, NAMESPACES[number % 2], &name, &graph).await?);
        }
        Ok(Self {
            engine,
            template_ids,
            tasks: Mutex::default(),
            claims: Mutex::default(),
            accepted: Mutex::default(),
            over: CancellationToken::new(),
        })
    }

    fn namespaces(rng: &mut TestRng) -> Vec<String> {
        let mut namespaces = NAMESPACES.map(str::to_owned).to_vec();
        shuffle(&mut namespaces, rng);
        namespaces
    }

    fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// Creates tasks in batches, most of them with keys that the other creators use too, each in an order of its own.
async fn create(field: Arc<Field>, mut rng: TestRng) -> Result<()> {
    let mut keys: Vec<Option<usize>> = (0..KEYS).map(Some).chain([None; KEYLESS]).collect();
    shuffle(&mut keys, &mut rng);
    while !keys.is_empty() {
        let size = rng.random_range(1..=10usize).min(keys.len());
        let batch: Vec<NewTask> = keys
            .drain(..size)
            .map(|key| {
                let template = key.unwrap_or_else(|| rng.random_range(0..KEYS)) % field.template_ids.len();
                NewTask {
                    task_id: Uuid::now_v7(),
                    template_id: field.template_ids[template],
                    latest: true,
                    context: json!({}),
                    priority: rng.random_range(0..=100),
                    tags: None,
                    idempotency: key.map(|key| (format!("key {key}"), vec![0])),
                }
            })
            .collect();
        let outcomes = field.engine.create_tasks(&batch).await.context("create_tasks")?;
        for (task, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                CreateOutcome::Created(_) => field.tasks.lock().unwrap().push(task.task_id),
                CreateOutcome::Existing(_) if task.idempotency.is_some() => {}
                other => anyhow::bail!("a task was not created: {other:?}"),
            }
        }
    }
    Ok(())
}

/// Claims, keeps, loses, completes, and mixes everything up.
async fn work(field: Arc<Field>, worker: String, mut rng: TestRng) -> Result<()> {
    let mut held: Vec<StepRef> = Vec::new();
    let mut nonce = 0;
    while !field.is_over() {
        let namespaces = Field::namespaces(&mut rng);
        let limit = if rng.random_bool(0.5) { 1 } else { rng.random_range(1..=10) };
        let claimed = field.engine.start_steps(&worker, &namespaces, limit, LEASE, &[]).await.context("start_steps")?;
        receive(&field, &mut held, &claimed);
        if rng.random_bool(0.1) {
            // As if it had crashed.
            held.clear();
        }
        if held.is_empty() || rng.random_bool(0.1) {
            // A handler that takes its time: some leases end meanwhile.
            tokio::time::sleep(Duration::from_millis(rng.random_range(1..=60))).await;
        }
        if rng.random_bool(0.3) {
            let extended = some_of(&field, &held, &mut rng);
            field.engine.extend_leases(LEASE, &extended).await.context("extend_leases")?;
        }
        let results: Vec<StepResult> = some_of(&field, &held, &mut rng)
            .into_iter()
            .map(|step| {
                nonce += 1;
                StepResult { step, outcome: outcome(&mut rng, json!([worker, nonce])) }
            })
            .collect();
        let take = rng.random_range(0..=4);
        let completion =
            field.engine.complete_steps(&worker, &namespaces, take, LEASE, &results).await.context("complete_steps")?;
        note_accepted(&field, &results, &completion.refused)?;
        held.retain(|held| !results.iter().any(|result| result.step.token == held.token));
        receive(&field, &mut held, &completion.handed);
    }
    Ok(())
}

/// Does what operators do, to any task.
async fn meddle(field: Arc<Field>, mut rng: TestRng) -> Result<()> {
    while !field.is_over() {
        let tasks = field.tasks.lock().unwrap().clone();
        if !tasks.is_empty() {
            let task = tasks[rng.random_range(0..tasks.len())];
            let step = step_name(rng.random_range(0..8));
            let operation = match rng.random_range(0..100) {
                0..4 => Operation::Cancel,
                4..6 => Operation::Fail,
                6..15 => Operation::Resolve { step, result: json!("by hand") },
                15..25 => Operation::Retry { step: Some(step) },
                _ => Operation::Retry { step: None },
            };
            let done = field.engine.operate(task, &operation, Some("operator"), None).await;
            done.with_context(|| format!("{operation:?}"))?;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn receive(field: &Field, held: &mut Vec<StepRef>, claimed: &[ClaimedStep]) {
    let claimed = claimed.iter().map(ClaimedStep::step_ref);
    field.claims.lock().unwrap().extend(claimed.clone());
    held.extend(claimed);
}

/// Some of what the worker holds, some twice, and some that others hold or held, in any order.
fn some_of(field: &Field, held: &[StepRef], rng: &mut TestRng) -> Vec<StepRef> {
    let mut some: Vec<StepRef> = held.iter().filter(|_| rng.random_bool(0.8)).cloned().collect();
    let twice: Vec<StepRef> = some.iter().filter(|_| rng.random_bool(0.1)).cloned().collect();
    some.extend(twice);
    let claims = field.claims.lock().unwrap();
    if !claims.is_empty() {
        some.extend((0..rng.random_range(0..3)).map(|_| claims[rng.random_range(0..claims.len())].clone()));
    }
    shuffle(&mut some, rng);
    some
}

fn outcome(rng: &mut TestRng, nonce: Value) -> StepOutcome {
    let error = json!({ "kind": "test", "message": "on purpose" });
    match rng.random_range(0..20) {
        0..3 => StepOutcome::RetryableError(error),
        3 => StepOutcome::PermanentError(error),
        4 => StepOutcome::Released,
        _ => StepOutcome::Completed(nonce),
    }
}

/// Remembers what a batch has been told is recorded. A step can be completed once.
fn note_accepted(field: &Field, results: &[StepResult], refused: &[StepId]) -> Result<()> {
    let mut batch: BTreeMap<StepId, Vec<&StepOutcome>> = BTreeMap::new();
    for result in results {
        batch.entry((result.step.task_id, result.step.step_no)).or_default().push(&result.outcome);
    }
    let mut accepted = field.accepted.lock().unwrap();
    for (step, outcomes) in batch.into_iter().filter(|(step, _)| !refused.contains(step)) {
        // Where several were sent for one step, any of them may be the one that counted.
        let completed: Vec<Value> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                StepOutcome::Completed(nonce) => Some(nonce.clone()),
                _ => None,
            })
            .collect();
        if completed.len() == outcomes.len() {
            ensure!(accepted.insert(step, completed).is_none(), "two results of {step:?} were accepted");
        }
    }
    Ok(())
}

fn nothing_acknowledged_is_lost(field: &Field, facts: &Facts) -> Result<()> {
    let accepted = field.accepted.lock().unwrap();
    ensure!(accepted.len() > 100, "hardly anything was completed by workers: {}", accepted.len());
    for (id, sent) in accepted.iter() {
        let recorded = facts.steps.get(id).and_then(|step| step.result.as_ref());
        ensure!(recorded.is_some_and(|recorded| sent.contains(recorded)), "{id:?}: {sent:?}, but {recorded:?}");
    }
    Ok(())
}

/// How many tasks may still change.
async fn unfinished(pool: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from tasker.tasks where state not in ('completed', 'failed', 'cancelled')")
        .fetch_one(pool)
        .await?)
}

/// What is left in the queues says nothing, and goes as soon as it is read.
async fn empty_queues(field: &Field, began: Instant) -> Result<()> {
    loop {
        let left = facts::messages(field.engine.pool()).await?;
        if left.is_empty() {
            return Ok(());
        }
        let steps: BTreeSet<StepId> = left.values().map(|message| message.step).collect();
        ensure!(began.elapsed() < DEADLINE, "messages are left: {steps:?}");
        let claimed = field.engine.start_steps("last", &NAMESPACES.map(str::to_owned), 100, LEASE, &[]).await?;
        ensure!(claimed.is_empty(), "a task at its end goes on: {claimed:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn no_deadlocks(url: &str) -> Result<()> {
    let pool = pool_options().max_connections(1).connect(url).await?;
    let deadlocks: i64 =
        sqlx::query_scalar("select coalesce(sum(deadlocks), 0)::bigint from pg_stat_database").fetch_one(&pool).await?;
    pool.close().await;
    ensure!(deadlocks == 0, "{deadlocks} deadlocks");
    Ok(())
}

fn shuffle<T>(items: &mut [T], rng: &mut TestRng) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.random_range(0..=last));
    }
}
