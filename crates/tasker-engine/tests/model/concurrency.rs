//! Many connections at once: clients that share idempotency keys, workers whose leases expire while they work, and
//! operators. No call may fail. All calls take locks in one order (see `functions/01_overview.sql`), so there are no
//! deadlocks, and no call needs a retry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use parking_lot::Mutex;
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
const CLIENTS: u32 = 2;
const WORKERS: u32 = 10;
const OPERATORS: u32 = 4;
/// The number of idempotency keys. Every client uses each of them.
const KEYS: usize = 200;
/// The number of tasks without a key that each client creates.
const KEYLESS: usize = 50;

/// The state that all clients, workers and operators share.
struct Shared {
    engine: Engine,
    template_ids: Vec<i64>,
    tasks: Mutex<Vec<Uuid>>,
    /// All claims of all workers, current or not.
    claims: Mutex<Vec<StepRef>>,
    /// The results that were sent for a step in an accepted batch.
    accepted: Mutex<BTreeMap<StepId, Vec<Value>>>,
    stop: CancellationToken,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_connections_never_deadlock_and_lose_nothing() -> Result<()> {
    let postgres = database().await?;
    let pool = pool_options().max_connections(CLIENTS + WORKERS + OPERATORS + 1).connect(&postgres.url()).await?;
    let mut runner = TestRunner::deterministic();
    let shared = Arc::new(Shared::new(pool.clone(), &mut runner).await?);

    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(create(Arc::clone(&shared), runner.new_rng()));
    }
    let mut workers_and_operators = JoinSet::new();
    for number in 0..WORKERS {
        workers_and_operators.spawn(work(Arc::clone(&shared), format!("w{number}"), runner.new_rng()));
    }
    for _ in 0..OPERATORS {
        workers_and_operators.spawn(operate(Arc::clone(&shared), runner.new_rng()));
    }
    let began = Instant::now();
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    while unfinished(&pool).await? > 0 {
        ensure!(began.elapsed() < DEADLINE, "{} tasks are not final", unfinished(&pool).await?);
        // A worker or operator that ends before it is told to stop has failed.
        if let Ok(Some(ended)) =
            tokio::time::timeout(Duration::from_millis(20), workers_and_operators.join_next()).await
        {
            ended??;
        }
    }
    shared.stop.cancel();
    while let Some(ended) = workers_and_operators.join_next().await {
        ended??;
    }

    let tasks = shared.tasks.lock().clone();
    ensure!(tasks.len() == KEYS + KEYLESS * usize::try_from(CLIENTS)?, "{} tasks were created", tasks.len());
    let facts = Facts::read(&pool, &tasks).await?;
    ensure!(facts.tasks.len() == tasks.len(), "tasks are missing in the database");
    invariants::check(&facts, Utc::now())?;
    History::default().follow(&pool, &tasks, &facts).await?;
    check_accepted_results(&shared, &facts)?;
    drain_queues(&shared, began).await?;
    pool.close().await;
    check_no_deadlocks(&postgres.url()).await
}

impl Shared {
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
            stop: CancellationToken::new(),
        })
    }

    fn namespaces(rng: &mut TestRng) -> Vec<String> {
        let mut namespaces = NAMESPACES.map(str::to_owned).to_vec();
        shuffle(&mut namespaces, rng);
        namespaces
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}

/// Creates tasks in batches. Most have keys that the other clients also use. Each client has its own order.
async fn create(shared: Arc<Shared>, mut rng: TestRng) -> Result<()> {
    let mut keys: Vec<Option<usize>> = (0..KEYS).map(Some).chain([None; KEYLESS]).collect();
    shuffle(&mut keys, &mut rng);
    while !keys.is_empty() {
        let size = rng.random_range(1..=10usize).min(keys.len());
        let batch: Vec<NewTask> = keys
            .drain(..size)
            .map(|key| {
                let template = key.unwrap_or_else(|| rng.random_range(0..KEYS)) % shared.template_ids.len();
                NewTask {
                    priority: rng.random_range(0..=100),
                    idempotency: key.map(|key| (format!("key {key}"), vec![0])),
                    ..NewTask::new(shared.template_ids[template], json!({}))
                }
            })
            .collect();
        let outcomes = shared.engine.create_tasks(&batch).await.context("create_tasks")?;
        for (task, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                CreateOutcome::Created(_) => shared.tasks.lock().push(task.task_id),
                CreateOutcome::Existing(_) if task.idempotency.is_some() => {}
                other => anyhow::bail!("a task was not created: {other:?}"),
            }
        }
    }
    Ok(())
}

/// Claims, extends, loses and completes steps, in random order and with random mistakes.
async fn work(shared: Arc<Shared>, worker: String, mut rng: TestRng) -> Result<()> {
    let mut held: Vec<StepRef> = Vec::new();
    let mut nonce = 0;
    while !shared.is_stopped() {
        let namespaces = Shared::namespaces(&mut rng);
        let limit = if rng.random_bool(0.5) { 1 } else { rng.random_range(1..=10) };
        let claimed =
            shared.engine.start_steps(&worker, &namespaces, limit, LEASE, &[]).await.context("start_steps")?;
        receive(&shared, &mut held, &claimed);
        if rng.random_bool(0.1) {
            // Act like a crashed worker.
            held.clear();
        }
        if held.is_empty() || rng.random_bool(0.1) {
            // Act like a slow handler. Some leases expire in the meantime.
            tokio::time::sleep(Duration::from_millis(rng.random_range(1..=60))).await;
        }
        if rng.random_bool(0.3) {
            let extended = sample(&shared, &held, &mut rng);
            shared.engine.extend_leases(LEASE, &extended).await.context("extend_leases")?;
        }
        let results: Vec<StepResult> = sample(&shared, &held, &mut rng)
            .into_iter()
            .map(|step| {
                nonce += 1;
                StepResult { step, outcome: outcome(&mut rng, json!([worker, nonce])) }
            })
            .collect();
        let take = rng.random_range(0..=4);
        let completion = shared
            .engine
            .complete_steps(&worker, &namespaces, take, LEASE, &results)
            .await
            .context("complete_steps")?;
        record_accepted(&shared, &results, &completion.refused)?;
        held.retain(|held| !results.iter().any(|result| result.step.token == held.token));
        receive(&shared, &mut held, &completion.handed);
    }
    Ok(())
}

/// Performs random operator actions on random tasks.
async fn operate(shared: Arc<Shared>, mut rng: TestRng) -> Result<()> {
    while !shared.is_stopped() {
        let tasks = shared.tasks.lock().clone();
        if !tasks.is_empty() {
            let task = tasks[rng.random_range(0..tasks.len())];
            let step = step_name(rng.random_range(0..8));
            let operation = match rng.random_range(0..100) {
                0..4 => Operation::Cancel,
                4..6 => Operation::Fail,
                6..15 => Operation::Resolve { step, result: json!("manual") },
                15..25 => Operation::Retry { step: Some(step) },
                _ => Operation::Retry { step: None },
            };
            let done = shared.engine.operate(task, &operation, Some("operator"), None).await;
            done.with_context(|| format!("{operation:?}"))?;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn receive(shared: &Shared, held: &mut Vec<StepRef>, claimed: &[ClaimedStep]) {
    let claimed = claimed.iter().map(ClaimedStep::step_ref);
    shared.claims.lock().extend(claimed.clone());
    held.extend(claimed);
}

/// Some of the worker's own steps, some of them twice, and some claims of any worker, in random order.
fn sample(shared: &Shared, held: &[StepRef], rng: &mut TestRng) -> Vec<StepRef> {
    let mut sample: Vec<StepRef> = held.iter().filter(|_| rng.random_bool(0.8)).cloned().collect();
    let duplicates: Vec<StepRef> = sample.iter().filter(|_| rng.random_bool(0.1)).cloned().collect();
    sample.extend(duplicates);
    let claims = shared.claims.lock();
    if !claims.is_empty() {
        sample.extend((0..rng.random_range(0..3)).map(|_| claims[rng.random_range(0..claims.len())].clone()));
    }
    shuffle(&mut sample, rng);
    sample
}

fn outcome(rng: &mut TestRng, nonce: Value) -> StepOutcome {
    let error = json!({ "kind": "test", "message": "intended failure" });
    match rng.random_range(0..20) {
        0..3 => StepOutcome::RetryableError(error),
        3 => StepOutcome::PermanentError(error),
        4 => StepOutcome::Released,
        _ => StepOutcome::Completed(nonce),
    }
}

/// Remembers the results that the engine has accepted. It must accept only one result for each step.
fn record_accepted(shared: &Shared, results: &[StepResult], refused: &[StepId]) -> Result<()> {
    let mut batch: BTreeMap<StepId, Vec<&StepOutcome>> = BTreeMap::new();
    for result in results {
        batch.entry((result.step.task_id, result.step.step_no)).or_default().push(&result.outcome);
    }
    let mut accepted = shared.accepted.lock();
    for (step, outcomes) in batch.into_iter().filter(|(step, _)| !refused.contains(step)) {
        // If the batch has several outcomes for one step, any of them may be the accepted one.
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

fn check_accepted_results(shared: &Shared, facts: &Facts) -> Result<()> {
    let accepted = shared.accepted.lock();
    ensure!(accepted.len() > 100, "workers completed only {} steps", accepted.len());
    for (id, sent) in accepted.iter() {
        let recorded = facts.steps.get(id).and_then(|step| step.result.as_ref());
        ensure!(
            recorded.is_some_and(|recorded| sent.contains(recorded)),
            "{id:?}: sent {sent:?}, recorded {recorded:?}"
        );
    }
    Ok(())
}

/// The number of tasks that are not final.
async fn unfinished(pool: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from tasker.tasks where state not in ('completed', 'failed', 'cancelled')")
        .fetch_one(pool)
        .await?)
}

/// Reads the remaining messages. They must not start any step, and reading deletes them.
async fn drain_queues(shared: &Shared, began: Instant) -> Result<()> {
    loop {
        let remaining = facts::messages(shared.engine.pool()).await?;
        if remaining.is_empty() {
            return Ok(());
        }
        let steps: BTreeSet<StepId> = remaining.values().map(|message| message.step).collect();
        ensure!(began.elapsed() < DEADLINE, "messages remain: {steps:?}");
        let claimed = shared.engine.start_steps("last", &NAMESPACES.map(str::to_owned), 100, LEASE, &[]).await?;
        ensure!(claimed.is_empty(), "a step of a final task started: {claimed:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn check_no_deadlocks(url: &str) -> Result<()> {
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
