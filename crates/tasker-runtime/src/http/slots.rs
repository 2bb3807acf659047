//! Limits the number of open connections.
//!
//! If all slots are taken, the connection that has waited longest for a complete request gives up its slot to the
//! new one. So clients that are idle or slow cannot keep others out. If every connection is busy, there is a small
//! reserve for health checks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Limits;

/// The connections that only health checks can use.
pub(super) const RESERVED: usize = 16;
/// The pause between two warnings of the same kind.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// All slots.
pub(super) struct Slots {
    limits: Limits,
    regular: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
    last_warnings: BTreeMap<&'static str, Instant>,
}

/// The connections that wait for a complete request, the longest wait first.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    since: BTreeMap<u64, CancellationToken>,
}

/// A place for one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    waiting: Arc<Mutex<Waiting>>,
    /// The key in [`Waiting::since`], if the connection waits.
    number: Option<u64>,
    closed: CancellationToken,
    reserved: bool,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            regular: Arc::new(Semaphore::new(limits.connections)),
            reserve: Arc::new(Semaphore::new(RESERVED)),
            waiting: Arc::default(),
            last_warnings: BTreeMap::new(),
        }
    }

    /// Takes a slot, if necessary from the connection that has waited longest. Returns none if all connections are
    /// busy, and the reserve is used up too.
    pub(super) async fn take(&mut self) -> Option<Slot> {
        if let Ok(permit) = Arc::clone(&self.regular).try_acquire_owned() {
            return Some(self.slot(permit, false));
        }
        let longest = self.waiting.lock().since.pop_first();
        if let Some((_, closed)) = longest {
            self.warn("the connection that has waited longest is closed for each new one");
            closed.cancel();
            // The connection ends at once and returns its permit. Another one may do so before it.
            let permit = Arc::clone(&self.regular).acquire_owned().await.ok()?;
            return Some(self.slot(permit, false));
        }
        self.warn("all of them are busy, so only health checks are served on new ones");
        let permit = Arc::clone(&self.reserve).try_acquire_owned().ok()?;
        Some(self.slot(permit, true))
    }

    fn slot(&self, permit: OwnedSemaphorePermit, reserved: bool) -> Slot {
        let waiting = Arc::clone(&self.waiting);
        let mut slot = Slot { waiting, number: None, closed: CancellationToken::new(), reserved, _permit: permit };
        slot.wait();
        slot
    }

    fn warn(&mut self, consequence: &'static str) {
        if self.should_warn(consequence) {
            tracing::warn!(
                limit = self.limits.connections,
                "the limit on connections is reached ({}, or ulimit -n if lower): {consequence}",
                self.limits.connections_name,
            );
        }
    }

    /// Reports that a connection cannot be accepted.
    pub(super) fn warn_open_files(&mut self, error: &std::io::Error) {
        if self.should_warn("open files") {
            tracing::warn!(%error, "cannot accept connections; is the limit on open files (ulimit -n) too low?");
        }
    }

    fn should_warn(&mut self, kind: &'static str) -> bool {
        let due = self.last_warnings.get(kind).is_none_or(|last| last.elapsed() >= WARNING_PAUSE);
        if due {
            self.last_warnings.insert(kind, Instant::now());
        }
        due
    }
}

impl Slot {
    /// The connection waits for a complete request from now on, so it may have to give up its slot.
    pub(super) fn wait(&mut self) {
        if self.reserved || self.number.is_some() || self.closed.is_cancelled() {
            return;
        }
        let mut waiting = self.waiting.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.since.insert(number, self.closed.clone());
        self.number = Some(number);
    }

    /// The connection handles a request from now on, and keeps its slot. Returns false if it has lost the slot.
    pub(super) fn work(&mut self) -> bool {
        match self.number.take() {
            Some(number) => self.waiting.lock().since.remove(&number).is_some(),
            None => !self.closed.is_cancelled(),
        }
    }

    /// Is cancelled when the connection loses its slot.
    pub(super) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Whether only health checks may use this slot.
    pub(super) fn is_reserved(&self) -> bool {
        self.reserved
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.work();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(connections: usize) -> Slots {
        let timeout = Duration::from_secs(1);
        let connections_name = "the limit of the test";
        Slots::new(Limits { connections, connections_name, header_timeout: timeout, idle_timeout: timeout })
    }

    #[tokio::test]
    async fn the_longest_wait_gives_up_its_slot_and_work_keeps_it() {
        let mut slots = slots(3);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(slots.take().await.unwrap());
        }
        assert!(taken[0].work());
        taken[1].wait();
        let second = taken.remove(1);
        let closed = second.closed();
        let gone = tokio::spawn(async move {
            closed.cancelled().await;
            let mut second = second;
            assert!(!second.work(), "a request would start on a connection that is closed");
        });
        let new = slots.take().await.unwrap();
        gone.await.unwrap();
        assert!(!new.is_reserved() && !taken[0].closed().is_cancelled() && !taken[1].closed().is_cancelled());
    }

    #[tokio::test]
    async fn the_reserve_serves_while_all_are_busy() {
        let mut slots = slots(1);
        let mut busy = slots.take().await.unwrap();
        assert!(busy.work());
        let mut reserved = Vec::new();
        for _ in 0..RESERVED {
            reserved.push(slots.take().await.unwrap());
        }
        assert!(reserved.iter().all(Slot::is_reserved));
        assert!(slots.take().await.is_none());
        busy.wait();
        drop(reserved);
        let closed = busy.closed();
        tokio::spawn(async move {
            closed.cancelled().await;
            drop(busy);
        });
        assert!(!slots.take().await.unwrap().is_reserved());
    }
}
