//! What the loops of a worker share.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tasker_api::WorkerState;
use tasker_engine::{Engine, StepResult};
use tasker_runtime::settings;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::handlers::Handlers;
use crate::metrics::Metrics;
use crate::running::Running;
use crate::wake::Wake;

/// The most steps of one claim, and the most results of one record.
pub(crate) const MAX_BATCH: usize = 500;

/// The right to hold one or more steps. A slot is held from the claim until the result is recorded, so that neither running
/// steps nor results that wait for the database can pile up.
pub(crate) type Slots = OwnedSemaphorePermit;

/// An attempt that has ended, with its slot.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) result: StepResult,
    pub(crate) slot: Slots,
}

/// The state of a worker.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) settings: settings::Worker,
    pub(crate) worker_id: String,
    pub(crate) host: String,
    pub(crate) namespaces: Vec<String>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) handlers: Handlers,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) running: Running,
    pub(crate) finished: mpsc::UnboundedSender<Finished>,
    /// The namespaces that may have something to claim.
    pub(crate) wake: Wake,
    pub(crate) metrics: Metrics,
    /// Shutdown begins: no new work.
    pub(crate) draining: CancellationToken,
    /// The time of running steps is over: they are handed back.
    pub(crate) hand_back: CancellationToken,
    /// Everything is recorded, or given up: the loops end.
    pub(crate) ended: CancellationToken,
}

impl Shared {
    /// What the worker is doing.
    pub(crate) fn state(&self) -> WorkerState {
        if self.ended.is_cancelled() {
            WorkerState::Stopped
        } else if self.draining.is_cancelled() {
            WorkerState::Draining
        } else {
            WorkerState::Running
        }
    }

    /// Waits for a free slot, and takes all that are free; none once the worker drains.
    pub(crate) async fn free_slots(&self) -> Option<Slots> {
        let one = Arc::clone(&self.slots).acquire_owned();
        // The semaphore is never closed.
        let mut slots = self.draining.run_until_cancelled(one).await?.ok()?;
        if let Some(more) = self.try_slots(MAX_BATCH - 1, |free| free) {
            slots.merge(more);
        }
        Some(slots)
    }

    /// Half of the free slots, so that claiming need not wait for recording; none once the worker drains.
    pub(crate) fn spare_slots(&self) -> Option<Slots> {
        if self.draining.is_cancelled() { None } else { self.try_slots(MAX_BATCH, |free| free / 2) }
    }

    fn try_slots(&self, limit: usize, share: impl Fn(usize) -> usize) -> Option<Slots> {
        let count = share(self.slots.available_permits()).min(limit);
        // Somebody else may have been quicker; then there are none this time.
        Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(count).ok()?).ok()
    }
}
