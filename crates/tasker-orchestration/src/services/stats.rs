//! Reads the statistics, and keeps them for a moment: many pages may show them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use tasker_api::{Stats, WorkerState, WorkerSummary, WorkerTotals};
use tasker_engine::Engine;
use tokio::sync::Mutex;

/// Counts stop here. Counting on would read more rows the more tasks there are.
pub(crate) const COUNT_LIMIT: u32 = 10_001;
/// How many open tasks of each namespace and state are searched for missing handlers.
const OPEN_TASKS: u32 = 1_000;
/// How long the statistics are kept.
const KEPT: Duration = Duration::from_secs(2);

/// The statistics of every namespace.
#[derive(Debug)]
pub(crate) struct Everything {
    pub(crate) stats: Stats,
    /// Open investigations by namespace and reason.
    pub(crate) dead_letters: Vec<(String, String, i64)>,
    pub(crate) workers: Vec<WorkerSummary>,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Statistics {
    engine: Engine,
    /// Locked while they are read, so that requests at the same time read them once.
    last: Mutex<Option<(Instant, Arc<Everything>)>>,
}

impl Statistics {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, last: Mutex::default() }
    }

    /// Returns statistics that are at most two seconds old.
    pub(crate) async fn get(&self) -> sqlx::Result<Arc<Everything>> {
        let mut last = self.last.lock().await;
        if let Some((read, everything)) = last.as_ref().filter(|(read, _)| read.elapsed() < KEPT) {
            tracing::trace!(age = ?read.elapsed(), "statistics are kept");
            return Ok(Arc::clone(everything));
        }
        let engine = &self.engine;
        let workers = engine.list_workers(None, None, None).await?;
        let namespaces = engine.list_namespaces().await?;
        let stats = Stats {
            at: Utc::now(),
            tasks: engine.count_tasks(None, COUNT_LIMIT).await?,
            queues: engine.queue_depths(None, COUNT_LIMIT).await?,
            workers: totals(&workers),
            unserved: engine.unserved_handlers(None, OPEN_TASKS).await?,
            gates: engine.list_gates(None, None, COUNT_LIMIT).await?,
            paused: namespaces.into_iter().filter(|n| n.paused_at.is_some()).map(|n| n.namespace).collect(),
            count_limit: i64::from(COUNT_LIMIT),
        };
        let dead_letters = engine.count_dead_letters(COUNT_LIMIT).await?;
        let everything = Arc::new(Everything { stats, dead_letters, workers });
        *last = Some((Instant::now(), Arc::clone(&everything)));
        Ok(everything)
    }
}

impl Everything {
    /// The part of some namespaces. None: everything.
    pub(crate) fn of(&self, namespaces: Option<&[String]>) -> Stats {
        let mut stats = self.stats.clone();
        let Some(namespaces) = namespaces else { return stats };
        let covered = |namespace: &String| namespaces.contains(namespace);
        stats.tasks.retain(|count| covered(&count.namespace));
        stats.queues.retain(|queue| covered(&queue.namespace));
        stats.unserved.retain(|handler| covered(&handler.namespace));
        stats.gates.retain(|gate| covered(&gate.namespace));
        stats.paused.retain(covered);
        // The counts of a worker are not divided by namespace.
        let workers = self.workers.iter().filter(|worker| worker.namespaces.iter().all(covered));
        stats.workers = totals(workers);
        stats
    }
}

fn totals<'a>(workers: impl IntoIterator<Item = &'a WorkerSummary>) -> WorkerTotals {
    let mut totals = WorkerTotals::default();
    for worker in workers {
        match worker.status {
            WorkerState::Running => totals.running += 1,
            WorkerState::Draining => totals.draining += 1,
            WorkerState::Lost => totals.lost += 1,
            WorkerState::Stopped => {}
        }
        if matches!(worker.status, WorkerState::Running | WorkerState::Draining) {
            totals.running_steps += worker.running_steps.map_or(0, i64::from);
            totals.completed_per_second += worker.completed_per_second.unwrap_or(0.0);
            totals.failed_per_second += worker.failed_per_second.unwrap_or(0.0);
        }
        if worker.status == WorkerState::Running {
            totals.max_concurrent += i64::from(worker.max_concurrent);
        }
    }
    totals
}
