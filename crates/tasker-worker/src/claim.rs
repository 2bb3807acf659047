//! Claims steps while slots are free.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgmq_notify::Listener;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::attempt;
use crate::outage::{Outage, bounded};
use crate::queues;
use crate::shared::Shared;

/// How long to wait when a message is visible although a claim has just found nothing to start: somebody else has it locked.
const LOCKED_PAUSE: Duration = Duration::from_millis(100);

/// Turns notifications into wake-ups, however many there are while nobody waits.
pub(crate) async fn listen(shared: Arc<Shared>, mut listener: Listener) {
    while shared.draining.run_until_cancelled(listener.next()).await.is_some() {
        shared.wake.send_replace(());
    }
}

/// Claims steps and starts their attempts, until the worker drains.
pub(crate) async fn claim_steps(shared: Arc<Shared>) {
    let mut wake = shared.wake.subscribe();
    let mut namespaces = shared.namespaces.clone();
    let mut outage = Outage::new("claim steps");
    while let Some(mut slots) = shared.free_slots().await {
        wake.mark_unchanged();
        let began = Instant::now();
        let limit = slots.num_permits();
        let limit_u32 = u32::try_from(limit).unwrap_or(u32::MAX);
        let claim = shared.engine.start_steps(&shared.worker_id, &namespaces, limit_u32, shared.settings.lease());
        match bounded(claim).await {
            Ok(steps) => {
                outage.over();
                shared.metrics.claimed(began.elapsed());
                let (full, empty) = (steps.len() == limit, steps.is_empty());
                for step in steps {
                    if let Some(slot) = slots.split(1) {
                        attempt::start(&shared, step, slot);
                    }
                }
                drop(slots);
                // The engine takes the namespaces in their order: each is first in its turn.
                namespaces.rotate_left(1);
                if !full {
                    shared.draining.run_until_cancelled(wait_for_work(&shared, &mut wake, empty)).await;
                }
            }
            Err(error) => {
                drop(slots);
                shared.metrics.database_failed("claim");
                shared.draining.run_until_cancelled(sleep(outage.failed(&error))).await;
            }
        }
    }
}

/// Waits until a claim may find something: a notification, or a message that becomes visible without one (a retry, a lease
/// that ended, or whatever the notifications did not tell).
async fn wait_for_work(shared: &Shared, wake: &mut watch::Receiver<()>, found_nothing: bool) {
    let poll_interval = shared.settings.poll_interval();
    while !wake.has_changed().unwrap_or(false) {
        let due = match bounded(queues::next_due(shared.engine.pool(), &shared.namespaces)).await {
            Ok(due) => due,
            // The next claim meets the same outage, and deals with it.
            Err(_) => Some(Duration::ZERO),
        };
        let pause = match due {
            Some(Duration::ZERO) if found_nothing => LOCKED_PAUSE,
            Some(due) => due,
            None => poll_interval,
        };
        tokio::select! {
            _ = wake.changed() => return,
            () = sleep(pause.min(poll_interval)) => {}
        }
        if due.is_some_and(|due| due <= poll_interval) {
            return;
        }
    }
}
