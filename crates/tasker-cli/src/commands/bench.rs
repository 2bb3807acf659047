//! `tasker-cli bench`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tasker_api::{CreateTask, TaskState};
use tasker_client::{OrchestrationApiClient, OrchestrationClient, WorkerApiClient, WorkerClient};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, note};
use crate::stack::Stack;

/// How long a round may take: far longer than it needs.
const LIMIT: Duration = Duration::from_secs(300);
/// Steps of `benchmark`/`sequential_noop` and `benchmark`/`wide_noop`.
const SEQUENTIAL_STEPS: usize = 3;
const WIDE_STEPS: usize = 52;

/// Measures, on one PostgreSQL with its default, durable settings:
///
/// - commit: a one-row INSERT of a single client, for comparison;
/// - latency: a task of three sequential steps, one at a time, from the POST until its response with the completed task;
/// - create, claim, complete, wait: the parts of the latency, which end when the creation begins in the database, the first
///   step starts, the last step completes, and the response arrives. A part contains the commit of the part before;
/// - wal, transactions: what such a task writes in the database, and in how many transactions; one more transaction
///   reads the completed task;
/// - creation: the POST of a task while many clients create tasks;
/// - sequential, wide: steps per second at saturation, in tasks of three sequential steps and of 50 parallel steps;
/// - idle: transactions per second while there is nothing to do.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// How many commits and single tasks to time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// How many rounds of each load to run. Each gives one sample.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// How many tasks of three sequential steps a round has. It has a tenth as many tasks of 50 parallel steps.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    tasks: u32,
    /// How many clients create tasks at the same time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients: u32,
    /// How long to watch the idle stack, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    idle: u64,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Benchmark {
    name: &'static str,
    unit: &'static str,
    /// Which samples are better: `lower` or `higher`.
    better: &'static str,
    samples: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Report {
    benchmarks: Vec<Benchmark>,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let benchmarks = Stack::run(Stack::private_settings("warn"), async |stack| self.measure(stack).await).await?;
        let report = Report { benchmarks };
        if context.json { output::print_json(&report) } else { output::print(table(&report)) }
    }

    async fn measure(&self, stack: &Stack) -> Result<Vec<Benchmark>, Failure> {
        let api = OrchestrationClient::new(&stack.url)?;
        // `Stack::run` always starts the worker.
        let worker = WorkerClient::new(stack.worker_url.as_deref().unwrap_or_default())?;
        let mut session = PgConnection::connect(&stack.database_url)
            .await
            .map_err(|error| Failure::failed(tasker_engine::message(&error)))?;

        note("idle ...");
        let idle = idle_transactions(&mut session, Duration::from_secs(self.idle)).await?;
        note("commit ...");
        let commit = commits(&mut session, self.samples).await?;
        note("latency ...");
        let before = Costs::read(&mut session).await?;
        let latency = latencies(&api, self.samples).await?;
        let costs = before.until(&Costs::read(&mut session).await?, self.samples);
        note("load ...");
        let (mut sequential, mut wide, mut creation) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let tasks = usize::try_from(self.tasks).unwrap_or(usize::MAX);
            let load = Load { api: &api, worker: &worker, clients: self.clients };
            let (rate, took) = load.run("sequential_noop", tasks, SEQUENTIAL_STEPS).await?;
            sequential.push(rate);
            creation.extend(took);
            let (rate, _) = load.run("wide_noop", tasks / 10, WIDE_STEPS).await?;
            wide.push(rate);
        }
        Ok(vec![
            Benchmark { name: "commit", unit: "ms", better: "lower", samples: commit },
            Benchmark { name: "latency", unit: "ms", better: "lower", samples: latency.total },
            Benchmark { name: "create", unit: "ms", better: "lower", samples: latency.create },
            Benchmark { name: "claim", unit: "ms", better: "lower", samples: latency.claim },
            Benchmark { name: "complete", unit: "ms", better: "lower", samples: latency.complete },
            Benchmark { name: "wait", unit: "ms", better: "lower", samples: latency.wait },
            Benchmark { name: "wal", unit: "bytes/task", better: "lower", samples: vec![costs.wal_bytes] },
            Benchmark { name: "transactions", unit: "1/task", better: "lower", samples: vec![costs.transactions] },
            Benchmark { name: "creation", unit: "ms", better: "lower", samples: creation },
            Benchmark { name: "sequential", unit: "steps/s", better: "higher", samples: sequential },
            Benchmark { name: "wide", unit: "steps/s", better: "higher", samples: wide },
            Benchmark { name: "idle", unit: "transactions/s", better: "lower", samples: vec![idle] },
        ])
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Times one-row inserts of a single client.
async fn commits(session: &mut PgConnection, samples: u32) -> Result<Vec<f64>, Failure> {
    let failed = |error| Failure::failed(tasker_engine::message(&error));
    sqlx::query("create table if not exists public.tasker_bench (n bigint)")
        .execute(&mut *session)
        .await
        .map_err(failed)?;
    let mut took = Vec::new();
    for n in 0..samples {
        let begun = Instant::now();
        sqlx::query("insert into public.tasker_bench values ($1)")
            .bind(i64::from(n))
            .execute(&mut *session)
            .await
            .map_err(failed)?;
        took.push(milliseconds(begun));
    }
    sqlx::query("drop table public.tasker_bench").execute(&mut *session).await.map_err(failed)?;
    Ok(took)
}

/// The latency of tasks, and its parts, in milliseconds.
#[derive(Default)]
struct Latency {
    total: Vec<f64>,
    create: Vec<f64>,
    claim: Vec<f64>,
    complete: Vec<f64>,
    wait: Vec<f64>,
}

/// Times tasks of three steps, one at a time. The database has the same clock, because it is on this machine.
async fn latencies(api: &OrchestrationClient, samples: u32) -> Result<Latency, Failure> {
    let mut latency = Latency::default();
    for _ in 0..samples {
        let begun = Utc::now();
        let task = api.create_task_and_wait(&noop("sequential_noop"), LIMIT).await?;
        let ended = Utc::now();
        let summary = &task.summary;
        let started = task.steps.iter().filter_map(|step| step.started_at).min();
        let (TaskState::Completed, Some(started), Some(completed)) = (summary.status, started, summary.completed_at)
        else {
            return Err(Failure::failed(format!("task {} is {}", summary.task_uuid, summary.status)));
        };
        let between = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).as_seconds_f64() * 1e3;
        latency.total.push(between(begun, ended));
        latency.create.push(between(begun, summary.created_at));
        latency.claim.push(between(summary.created_at, started));
        latency.complete.push(between(started, completed));
        latency.wait.push(between(completed, ended));
    }
    Ok(latency)
}

/// What the database has written so far.
struct Costs {
    wal_bytes: f64,
    transactions: f64,
}

impl Costs {
    async fn read(session: &mut PgConnection) -> Result<Self, Failure> {
        // Ids of transactions, because the sessions report their statistics late.
        let (wal_bytes, transactions) = sqlx::query_as(
            "select (pg_current_wal_insert_lsn() - '0/0')::float8,
                    pg_snapshot_xmax(pg_current_snapshot())::text::float8",
        )
        .fetch_one(session)
        .await
        .map_err(|error| Failure::failed(tasker_engine::message(&error)))?;
        Ok(Self { wal_bytes, transactions })
    }

    /// The costs of each of `tasks` tasks. Includes the heartbeats meanwhile.
    fn until(&self, after: &Self, tasks: u32) -> Self {
        let each = |before: f64, after: f64| (after - before) / f64::from(tasks);
        Self {
            wal_bytes: each(self.wal_bytes, after.wal_bytes),
            transactions: each(self.transactions, after.transactions),
        }
    }
}

/// Transactions per second of the whole stack, without those of the measurement.
async fn idle_transactions(session: &mut PgConnection, span: Duration) -> Result<f64, Failure> {
    let mut counts = [0_i64; 2];
    // Let the work of the start finish.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (at, count) in counts.iter_mut().enumerate() {
        if at == 1 {
            tokio::time::sleep(span).await;
        }
        *count = sqlx::query_scalar(
            "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()",
        )
        .fetch_one(&mut *session)
        .await
        .map_err(|error| Failure::failed(tasker_engine::message(&error)))?;
    }
    // One of them is the first query of the measurement.
    let transactions = u32::try_from(counts[1] - counts[0] - 1).unwrap_or(0);
    Ok(f64::from(transactions) / span.as_secs_f64())
}

fn noop(name: &str) -> CreateTask {
    CreateTask {
        namespace: "benchmark".to_owned(),
        name: name.to_owned(),
        version: None,
        context: serde_json::Map::new(),
        idempotency_key: None,
        priority: None,
        tags: None,
    }
}

/// Many clients that create tasks as fast as possible.
struct Load<'a> {
    api: &'a OrchestrationClient,
    worker: &'a WorkerClient,
    clients: u32,
}

impl Load<'_> {
    /// Creates tasks and waits until all their steps have completed. Returns steps per second, and the time of each
    /// creation.
    async fn run(&self, name: &'static str, tasks: usize, steps: usize) -> Result<(f64, Vec<f64>), Failure> {
        let before = self.worker.get_worker_status().await?.completed_steps;
        let wanted = before + u64::try_from(tasks * steps).unwrap_or(u64::MAX);
        let left = Arc::new(AtomicUsize::new(tasks));
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..self.clients {
            let (api, left) = (self.api.clone(), Arc::clone(&left));
            clients.spawn(async move {
                let mut took = Vec::new();
                while left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let begun = Instant::now();
                    api.create_task(&noop(name)).await?;
                    took.push(milliseconds(begun));
                }
                Ok::<_, tasker_client::ClientError>(took)
            });
        }
        let mut took = Vec::new();
        while let Some(client) = clients.join_next().await {
            took.extend(client.map_err(Failure::failed)??);
        }
        loop {
            let status = self.worker.get_worker_status().await?;
            if status.completed_steps >= wanted {
                break;
            }
            if begun.elapsed() > LIMIT {
                let missing = wanted - status.completed_steps;
                return Err(Failure::failed(format!("{missing} steps of {name} have not completed within {LIMIT:?}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 steps")]
        let steps = (tasks * steps) as f64;
        Ok((steps / begun.elapsed().as_secs_f64(), took))
    }
}

fn table(report: &Report) -> String {
    let rows = report.benchmarks.iter().map(|benchmark| {
        let mut samples = benchmark.samples.clone();
        samples.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let place = samples.len().saturating_sub(1) * percent / 100;
            samples.get(place).map(|sample| format!("{sample:.2}")).unwrap_or_default()
        };
        [
            benchmark.name.to_owned(),
            benchmark.unit.to_owned(),
            at(0),
            at(50),
            at(99),
            at(100),
            samples.len().to_string(),
        ]
    });
    output::table(["benchmark", "unit", "least", "median", "p99", "most", "samples"], rows)
}
