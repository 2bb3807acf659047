//! A campaign, from its start to its report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use tempfile::TempDir;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::clock::ClockLibrary;
use crate::consistency;
use crate::disk::Disk;
use crate::faults;
use crate::field::Field;
use crate::ledger::Ledger;
use crate::load::{self, Acknowledged};
use crate::plan::{Kind, Plan};
use crate::pooler::Pooler;
use crate::report::Report;
use crate::schedules;
use crate::stack::{LEASE, Parts, Stack};
use crate::workflows;

/// How long all tasks may take to be at rest after the last fault.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// A task that takes longer than this is late: the longest one takes ten seconds.
const LATE: Duration = Duration::from_secs(15);
/// How often the open tasks are checked while faults are injected.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(200);

/// Which campaign to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Determines the kinds, targets and pauses of the faults.
    pub seed: u64,
    /// How long faults are injected at most.
    pub duration: Duration,
    /// How many faults are injected at most.
    pub faults: usize,
    /// How many tasks are open at the same time.
    pub tasks: usize,
    /// How many workers run.
    pub workers: usize,
    /// How many servers run.
    pub servers: usize,
    /// Only inject faults of these [`kinds`]; all kinds if empty. The same seed gives the same faults of each kind.
    pub only: Vec<String>,
    /// Multiplies the limits of time, for a machine with other work to do.
    pub slack: u32,
    /// Print events with their times on standard error.
    pub timeline: bool,
}

/// The names of the kinds of faults.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    Kind::WEIGHTS.iter().map(|(kind, _)| kind.name())
}

/// Runs a campaign on a stack of its own.
///
/// # Errors
/// If the stack cannot be started, or the database cannot be queried at the end.
pub async fn run(options: &Options) -> Result<Report> {
    // One thread is enough: the other processes do the work.
    LocalSet::new().run_until(run_here(options)).await
}

async fn run_here(options: &Options) -> Result<Report> {
    let ledger = Arc::new(Ledger::new(options.slack, options.timeline));
    let scratch = TempDir::new()?;
    // Before anything starts another thread: see `Disk::mount`.
    let disk = Disk::mount();
    let pooler = Pooler::find();
    let clocks = ClockLibrary::find(scratch.path());
    let impossible = [
        (Kind::JumpClock, clocks.as_ref().err()),
        (Kind::FullDisk, disk.as_ref().err()),
        (Kind::KillPooler, pooler.as_ref().err()),
    ];
    let impossible: BTreeMap<Kind, &String> =
        impossible.into_iter().filter_map(|(kind, why)| Some((kind, why?))).collect();
    impossible.iter().for_each(|(kind, why)| ledger.not_run(*kind, (*why).clone()));
    let named = |kind: Kind| options.only.is_empty() || options.only.iter().any(|name| name == kind.name());
    let kinds = Kind::WEIGHTS.iter().map(|(kind, _)| *kind);
    let kinds = kinds.filter(|kind| named(*kind) && !impossible.contains_key(kind));
    let plan = Plan::new(options.seed, kinds.collect());
    let (disk, pooler, clocks) = (disk.ok(), pooler.ok(), clocks.ok());

    let parts = Parts { servers: options.servers, workers: options.workers, clocks, disk, pooler };
    let stack = Stack::start(parts, scratch.path(), &ledger).await?;
    let field = Arc::new(Field::new(stack, Arc::clone(&ledger))?);
    workflows::store(&field.stack.api(0)?).await?;
    schedules::record(field.pool()).await?;

    let acknowledged = Arc::new(Acknowledged::default());
    let mut clients = JoinSet::new();
    let mut rng = Rng::with_seed(options.seed);
    for number in 0..options.tasks {
        clients.spawn_local(load::client(Arc::clone(&field), Arc::clone(&acknowledged), number, rng.u64(..)));
    }
    for number in 0..schedules::OWNERS {
        clients.spawn_local(schedules::owner(Arc::clone(&field), Arc::clone(&acknowledged), number, rng.u64(..)));
    }
    let watch = spawn_local(watch(Arc::clone(&field)));

    let begun = Instant::now();
    faults::inject(&field, plan.take(options.faults), options.duration).await?;
    let seconds = begun.elapsed().as_secs_f64();

    let (late, settle_limit) = (ledger.limit(LATE), ledger.limit(SETTLE_LIMIT));
    let calm = Instant::now();
    field.stack.repair().await?;
    field.closing.cancel();
    if !all_done(&mut clients, late.saturating_sub(calm.elapsed())).await {
        ledger.evidence(consistency::evidence(field.pool(), &[]).await?);
    }
    if !all_done(&mut clients, settle_limit.saturating_sub(calm.elapsed())).await {
        ledger.violation(format!("{settle_limit:?} after the last fault, {} clients are still waiting", clients.len()));
        field.over.cancel();
        while clients.join_next().await.is_some() {}
    }
    let settled_after = calm.elapsed();
    watch.abort();
    check(&field, &acknowledged, options.slack).await?;
    // Also finds processes that exited unasked.
    field.stack.stop(&field.ledger).await;
    report(options, &field, seconds, settled_after).await
}

/// Waits until all clients have finished. Returns false if that takes too long.
async fn all_done(clients: &mut JoinSet<()>, limit: Duration) -> bool {
    timeout(limit, async { while clients.join_next().await.is_some() {} }).await.is_ok()
}

/// Checks the open tasks periodically. Skips a check while PostgreSQL is unavailable.
async fn watch(field: Arc<Field>) {
    loop {
        sleep(WATCH_INTERVAL).await;
        let Ok(violations) = consistency::violations_of_open_tasks(field.pool()).await else { continue };
        if !violations.is_empty()
            && let Ok(evidence) = consistency::evidence(field.pool(), &violations).await
        {
            field.ledger.evidence(evidence);
        }
        violations.into_iter().for_each(|violation| field.ledger.violation(violation));
    }
}

/// Checks everything once the queues had time to become empty.
async fn check(field: &Field, acknowledged: &Acknowledged, slack: u32) -> Result<()> {
    let begun = Instant::now();
    let left_over = loop {
        let left_over = consistency::left_over(field.pool()).await?;
        // A superfluous message is invisible for at most one lease; several may follow one another.
        if left_over.is_empty() || begun.elapsed() > field.ledger.limit(5 * LEASE) {
            break left_over;
        }
        sleep(POLL).await;
    };
    let violations = consistency::violations(field.pool()).await?;
    let of_schedules = schedules::violations(&mut *field.pool().acquire().await?, slack).await?;
    violations.into_iter().chain(left_over).chain(of_schedules).for_each(|violation| field.ledger.violation(violation));

    // What the API has reported to a client must stay true.
    let (ids, seen): (Vec<_>, Vec<_>) =
        acknowledged.tasks().into_iter().map(|(id, seen)| (id, seen.map(|state| state.as_str()))).unzip();
    let lost: Vec<String> = sqlx::query_scalar(
        "select format('task %s was acknowledged, seen as %s, and is %s', a.id, a.seen, t.state)
         from unnest($1::uuid[], $2::text[]) a(id, seen) left join tasker.tasks t on t.task_id = a.id
         where t.task_id is null or a.seen <> t.state::text",
    )
    .bind(&ids)
    .bind(&seen)
    .fetch_all(field.pool())
    .await?;
    lost.into_iter().for_each(|lost| field.ledger.violation(lost));
    let stored: i64 =
        sqlx::query_scalar("select count(*) from tasker.tasks where idempotency_key not like 'schedule:%'")
            .fetch_one(field.pool())
            .await?;
    if usize::try_from(stored)? != ids.len() && !field.over.is_cancelled() {
        field.ledger.violation(format!("{} tasks were acknowledged, but {stored} are stored", ids.len()));
    }
    Ok(())
}

async fn report(options: &Options, field: &Field, seconds: f64, settled_after: Duration) -> Result<Report> {
    let (steps, attempts, rejected_messages) = sqlx::query_as(
        "select (select count(*) from tasker.steps),
                (select count(*) from tasker.transitions where step_no is not null and to_state = 'in_progress'),
                (select count(*) from tasker.rejected_messages)",
    )
    .fetch_one(field.pool())
    .await?;
    let schedules = schedules::handled(field.pool()).await?.into_iter().collect();
    let entries = field.ledger.entries();
    let recoveries = entries.recoveries.iter().map(|(kind, time)| (kind.clone(), time.as_secs_f64()));
    Ok(Report {
        seed: options.seed,
        seconds,
        settled_after_seconds: settled_after.as_secs_f64(),
        faults: entries.faults.values().sum(),
        faults_by_kind: entries.faults.clone(),
        missed_faults: entries.missed.clone(),
        not_run: entries.not_run.clone(),
        tasks: entries.tasks.clone(),
        schedules,
        steps,
        attempts,
        exhausted_steps: entries.exhausted,
        refused_results: entries.refused,
        rejected_messages,
        error_answers: entries.answers.clone(),
        longest_recovery_seconds: entries.recoveries.values().max().map_or(0.0, Duration::as_secs_f64),
        longest_recovery_seconds_by_kind: recoveries.collect(),
        violations: entries.violations.clone(),
        evidence: entries.evidence.clone(),
    })
}
