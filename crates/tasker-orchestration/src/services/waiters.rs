//! Requests that wait until a task is at rest. They hold no database connection: one listener serves all of them,
//! and a query every second finds the tasks whose notification was lost.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use pgmq_notify::{Event, Listener};
use tasker_engine::{Engine, Failure};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outage::Outage;

/// The channel on which `tasker.announce` sends the ids of tasks at rest.
const CHANNEL: &str = "tasker.tasks_at_rest";
/// How often to query the tasks that requests wait for, in case a notification was lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The requests that wait, by task.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<HashMap<Uuid, Weak<Notify>>>,
}

/// A request that waits for one task, until it is dropped.
pub(crate) struct Waiter {
    task_id: Uuid,
    changed: Arc<Notify>,
    waiters: Arc<Waiters>,
}

impl Waiters {
    /// Starts to wait for a task. Query the task after this call, not before: the waiter hears what happens from
    /// now on.
    pub(crate) fn register(self: &Arc<Self>, task_id: Uuid) -> Waiter {
        let mut waiting = self.waiting.lock();
        let changed = waiting.get(&task_id).and_then(Weak::upgrade).unwrap_or_default();
        waiting.insert(task_id, Arc::downgrade(&changed));
        drop(waiting);
        Waiter { task_id, changed, waiters: Arc::clone(self) }
    }

    /// Wakes the requests whose tasks are at rest, until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, engine: Engine, outage: Arc<Outage>, shutdown: CancellationToken) {
        let mut listener = Listener::new(engine.pool(), [CHANNEL.to_owned()]);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = listener.next() => match event {
                    Event::Notified { payload, .. } if !payload.is_empty() => {
                        self.wake(payload.split(',').filter_map(|id| id.parse().ok()));
                    }
                    Event::Notified { .. } | Event::Connected => self.look(&engine, &outage).await,
                },
                _ = look.tick() => self.look(&engine, &outage).await,
            }
        }
        let everybody: Vec<Uuid> = self.waiting.lock().keys().copied().collect();
        self.wake(everybody);
    }

    async fn look(&self, engine: &Engine, outage: &Outage) {
        let task_ids: Vec<Uuid> = self.waiting.lock().keys().copied().collect();
        if task_ids.is_empty() {
            return;
        }
        match engine.at_rest(&task_ids).await {
            Ok(at_rest) => self.wake(at_rest),
            Err(error) if Failure::of(&error) == Failure::Unavailable => outage.failed(&error.to_string()),
            Err(error) => tracing::warn!(%error, "cannot query the tasks that requests wait for"),
        }
    }

    fn wake(&self, task_ids: impl IntoIterator<Item = Uuid>) {
        let waiting = self.waiting.lock();
        for task_id in task_ids {
            if let Some(changed) = waiting.get(&task_id).and_then(Weak::upgrade) {
                changed.notify_waiters();
            }
        }
    }
}

impl Waiter {
    /// Returns a future that completes when the task may be at rest, if that happens after this call. Call this,
    /// query the task, and then await the future.
    pub(crate) fn at_rest(&self) -> impl Future<Output = ()> + '_ {
        let mut at_rest = Box::pin(self.changed.notified());
        at_rest.as_mut().enable();
        at_rest
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting.lock();
        // This is the last waiter: no other can take a new reference while the map is locked.
        if Arc::strong_count(&self.changed) == 1 {
            waiting.remove(&self.task_id);
        }
    }
}
