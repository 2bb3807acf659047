//! `tasker-cli bench`

mod load;
mod single;
mod watchers;

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::Map;
use sqlx::{Connection, PgConnection};
use tasker_api::CreateTask;
use tasker_client::{OrchestrationApiClient, OrchestrationClient, WorkerClient};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, note};
use crate::stack::Stack;
use load::Load;
use watchers::Watchers;

/// How long a round may take: far longer than it needs.
const LIMIT: Duration = Duration::from_secs(300);
/// Steps of `benchmark`/`sequential_noop`, `benchmark`/`wide_noop` and, without children, `benchmark`/`mapped_noop`.
const SEQUENTIAL_STEPS: usize = 3;
const WIDE_STEPS: usize = 52;
const MAPPED_STEPS: usize = 2;
/// Templates that the sample worker does not have.
const TEMPLATES: [&str; 2] = [include_str!("mapped_noop.yaml"), include_str!("signalled_noop.yaml")];

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
/// - mapped: steps per second of one task with a child for each element of a list;
/// - signals: signals per second that many clients send, each to a task that waits for it and then has one step to run;
/// - idle: transactions per second while there is nothing to do;
/// - watched ...: with `--watchers`, the loads again while so many clients have a live stream open, in turn with the loads
///   without them.
#[derive(Debug, Args)]
pub(crate) struct Command {
    /// How many commits and single tasks to time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// How many rounds of each load to run. Each gives one sample.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// How many tasks of three sequential steps a round has. It has a tenth as many tasks of 50 parallel steps, as many
    /// signals, and one task with five times as many children (at most 10,000).
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    tasks: u32,
    /// How many clients create tasks at the same time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients: u32,
    /// Run each load also while so many clients watch the live stream.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    watchers: u32,
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

        for template in TEMPLATES {
            api.apply_template(template).await?;
        }
        note("idle ...");
        let idle = idle_transactions(&mut session, Duration::from_secs(self.idle)).await?;
        note("commit ...");
        let commit = commits(&mut session, self.samples).await?;
        note("latency ...");
        let before = single::Costs::read(&mut session).await?;
        let latency = single::latencies(&api, self.samples).await?;
        let costs = before.until(&single::Costs::read(&mut session).await?, self.samples);
        note("load ...");
        let load = Load { api: &api, worker: &worker, clients: self.clients };
        let (mut plain, mut watched) = (Samples::default(), Samples::default());
        for round in 0..self.rounds {
            // The side that goes first alternates.
            for with_watchers in [round % 2 == 1, round % 2 == 0] {
                if !with_watchers {
                    plain.add(&load, self.tasks).await?;
                } else if self.watchers > 0 {
                    let watchers = Watchers::open(&api, &stack.url, self.watchers).await?;
                    watched.add(&load, self.tasks).await?;
                    watchers.close()?;
                }
            }
        }
        let mut benchmarks = vec![
            Benchmark { name: "commit", unit: "ms", better: "lower", samples: commit },
            Benchmark { name: "latency", unit: "ms", better: "lower", samples: latency.total },
            Benchmark { name: "create", unit: "ms", better: "lower", samples: latency.create },
            Benchmark { name: "claim", unit: "ms", better: "lower", samples: latency.claim },
            Benchmark { name: "complete", unit: "ms", better: "lower", samples: latency.complete },
            Benchmark { name: "wait", unit: "ms", better: "lower", samples: latency.wait },
            Benchmark { name: "wal", unit: "bytes/task", better: "lower", samples: vec![costs.wal_bytes] },
            Benchmark { name: "transactions", unit: "1/task", better: "lower", samples: vec![costs.transactions] },
            Benchmark { name: "idle", unit: "transactions/s", better: "lower", samples: vec![idle] },
        ];
        benchmarks.extend(plain.benchmarks(["creation", "sequential", "wide", "mapped", "signals"]));
        if self.watchers > 0 {
            let names = ["watched creation", "watched sequential", "watched wide", "watched mapped", "watched signals"];
            benchmarks.extend(watched.benchmarks(names));
        }
        Ok(benchmarks)
    }
}

/// The samples of the loads.
#[derive(Default)]
struct Samples {
    creation: Vec<f64>,
    sequential: Vec<f64>,
    wide: Vec<f64>,
    mapped: Vec<f64>,
    signals: Vec<f64>,
}

impl Samples {
    /// Runs each load once.
    async fn add(&mut self, load: &Load<'_>, tasks: u32) -> Result<(), Failure> {
        let tasks = usize::try_from(tasks).unwrap_or(usize::MAX);
        let (rate, took) = load.create(&noop("sequential_noop"), tasks, SEQUENTIAL_STEPS).await?;
        self.sequential.push(rate);
        self.creation.extend(took);
        let (rate, _) = load.create(&noop("wide_noop"), tasks / 10, WIDE_STEPS).await?;
        self.wide.push(rate);
        let children = tasks.saturating_mul(5).min(10_000);
        let count = Map::from_iter([("count".to_owned(), children.into())]);
        let task = CreateTask { context: count, ..noop("mapped_noop") };
        let (rate, _) = load.create(&task, 1, children + MAPPED_STEPS).await?;
        self.mapped.push(rate);
        self.signals.push(load.signal(&noop("signalled_noop"), "go", tasks).await?);
        Ok(())
    }

    /// The benchmarks, with these names.
    fn benchmarks(self, [creation, sequential, wide, mapped, signals]: [&'static str; 5]) -> [Benchmark; 5] {
        let rate = |name, unit, samples| Benchmark { name, unit, better: "higher", samples };
        [
            Benchmark { name: creation, unit: "ms", better: "lower", samples: self.creation },
            rate(sequential, "steps/s", self.sequential),
            rate(wide, "steps/s", self.wide),
            rate(mapped, "steps/s", self.mapped),
            rate(signals, "signals/s", self.signals),
        ]
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
        context: Map::new(),
        idempotency_key: None,
        priority: None,
        tags: None,
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
