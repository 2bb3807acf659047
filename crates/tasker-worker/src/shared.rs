//! The state that the loops of a worker share.

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

/// The largest number of steps in one claim, and of results in one batch.
pub(crate) const MAX_BATCH: usize = 500;

/// Slots for some steps. A step occupies its slot from the claim until its result is recorded. This limits the running
/// steps as well as the results that wait for the database. A handler that runs on after its attempt has ended keeps
/// the slot, and the result waits without one.
pub(crate) type Slots = OwnedSemaphorePermit;

/// An attempt that has ended, with its slot, or with an empty one if its handler keeps the slot.
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
    /// The worker is shutting down and claims no more steps.
    pub(crate) draining: CancellationToken,
    /// The running steps have had their time and are released.
    pub(crate) release: CancellationToken,
    /// Every result is recorded or given up, and the loops end.
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

    /// Waits for a free slot, then takes all free slots. Returns none once the worker drains.
    pub(crate) async fn free_slots(&self) -> Option<Slots> {
        let one = Arc::clone(&self.slots).acquire_owned();
        // The semaphore is never closed.
        let mut slots = self.draining.run_until_cancelled(one).await?.ok()?;
        if let Some(more) = self.try_slots(MAX_BATCH - 1, |free| free) {
            slots.merge(more);
        }
        Some(slots)
    }

    /// Takes half of the free slots and leaves the other half to the `claim` loop. Returns none once the worker drains.
    pub(crate) fn spare_slots(&self) -> Option<Slots> {
        if self.draining.is_cancelled() { None } else { self.try_slots(MAX_BATCH, |free| free / 2) }
    }

    fn try_slots(&self, limit: usize, share: impl Fn(usize) -> usize) -> Option<Slots> {
        let count = share(self.slots.available_permits()).min(limit);
        // Fails if another loop took the slots first. Then there are none this time.
        Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(count).ok()?).ok()
    }
}
