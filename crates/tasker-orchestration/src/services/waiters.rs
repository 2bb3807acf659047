//! Requests that wait for tasks to come to rest. They hold no connection: one listener serves them all, and a look at the database
//! every second makes good for notifications that were lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pgmq_notify::{Event, Listener};
use tasker_engine::Engine;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The channel on which `tasker.announce` tells of tasks at rest.
const CHANNEL: &str = "tasker.tasks_at_rest";
/// How often tasks that somebody waits for are looked at, if no notification comes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Who waits for which task.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<HashMap<Uuid, Weak<Notify>>>,
}

/// A wait for one task; it ends when this is dropped.
pub(crate) struct Waiter {
    task_id: Uuid,
    bell: Arc<Notify>,
    waiters: Arc<Waiters>,
}

impl Waiters {
    /// Begins to wait for a task. Look at the task after this call, not before: what happens from now on rings.
    pub(crate) fn register(self: &Arc<Self>, task_id: Uuid) -> Waiter {
        let mut waiting = self.lock();
        let bell = waiting.get(&task_id).and_then(Weak::upgrade).unwrap_or_default();
        waiting.insert(task_id, Arc::downgrade(&bell));
        drop(waiting);
        Waiter { task_id, bell, waiters: Arc::clone(self) }
    }

    /// Hears of tasks at rest, until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, engine: Engine, shutdown: CancellationToken) {
        let mut listener = Listener::new(engine.pool(), [CHANNEL.to_owned()]);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = listener.next() => match event {
                    Event::Notified { payload, .. } if !payload.is_empty() => {
                        self.ring(payload.split(',').filter_map(|id| id.parse().ok()));
                    }
                    Event::Notified { .. } | Event::Connected => self.look(&engine).await,
                },
                _ = look.tick() => self.look(&engine).await,
            }
        }
        let everybody: Vec<Uuid> = self.lock().keys().copied().collect();
        self.ring(everybody);
    }

    async fn look(&self, engine: &Engine) {
        let task_ids: Vec<Uuid> = self.lock().keys().copied().collect();
        if task_ids.is_empty() {
            return;
        }
        match engine.at_rest(&task_ids).await {
            Ok(at_rest) => self.ring(at_rest),
            Err(error) => tracing::warn!(%error, "cannot look at the tasks that are waited for"),
        }
    }

    fn ring(&self, task_ids: impl IntoIterator<Item = Uuid>) {
        let waiting = self.lock();
        for task_id in task_ids {
            if let Some(bell) = waiting.get(&task_id).and_then(Weak::upgrade) {
                bell.notify_waiters();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Weak<Notify>>> {
        // A panic while it was held cannot have left half an entry.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Completes when the task may have come to rest, if that happens after this call: take it, look at the task, then await it.
    pub(crate) fn rung(&self) -> impl Future<Output = ()> + '_ {
        let mut rung = Box::pin(self.bell.notified());
        rung.as_mut().enable();
        rung
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        // This one is the last: nobody can take a new reference while the map is locked.
        if Arc::strong_count(&self.bell) == 1 {
            waiting.remove(&self.task_id);
        }
    }
}
