//! Requests that wait until a task is at rest. They hold no database connection: one listener serves all of them, and
//! one query reads all tasks of a notification. A query every second finds the tasks whose notification was lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pgmq_notify::{Event, Listener};
use tasker_api::TaskDetail;
use tasker_engine::{Engine, Failure};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outage::Outage;

/// The channel on which `tasker.announce` sends the ids of tasks at rest.
pub(super) const CHANNEL: &str = "tasker.tasks_at_rest";
/// How often to query the tasks that requests wait for, in case a notification was lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The most tasks of one query. Their results can be large.
const MAX_TASKS: usize = 50;

type AtRest = Option<Arc<TaskDetail>>;

/// The requests that wait, by task.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<HashMap<Uuid, watch::Sender<AtRest>>>,
}

/// A request that waits for one task, until it is dropped.
pub(crate) struct Waiter {
    task_id: Uuid,
    task: watch::Receiver<AtRest>,
    waiters: Arc<Waiters>,
}

impl Waiters {
    /// Starts to wait for a task. Query or create the task after this call, not before: the waiter hears what happens
    /// from now on.
    pub(crate) fn register(self: &Arc<Self>, task_id: Uuid) -> Waiter {
        let task = self.waiting.lock().entry(task_id).or_default().subscribe();
        Waiter { task_id, task, waiters: Arc::clone(self) }
    }

    /// Gives the requests their tasks when these are at rest, until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, engine: Engine, outage: Arc<Outage>, shutdown: CancellationToken) {
        let mut listener = Listener::new(engine.pool(), [CHANNEL.to_owned()]);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let served = tokio::select! {
                () = shutdown.cancelled() => break,
                event = listener.next() => match event {
                    Event::Notified { payload, .. } if !payload.is_empty() => {
                        self.serve(&engine, payload.split(',').filter_map(|id| id.parse().ok())).await
                    }
                    Event::Notified { .. } | Event::Connected => self.look(&engine).await,
                },
                _ = look.tick() => self.look(&engine).await,
            };
            match served {
                Ok(()) => {}
                Err(error) if Failure::of(&error) == Failure::Unavailable => outage.failed(&error.to_string()),
                Err(error) => tracing::warn!(%error, "cannot query the tasks that requests wait for"),
            }
        }
    }

    async fn look(&self, engine: &Engine) -> sqlx::Result<()> {
        let task_ids: Vec<Uuid> = self.waiting.lock().keys().copied().collect();
        if task_ids.is_empty() {
            return Ok(());
        }
        let at_rest = engine.at_rest(&task_ids).await?;
        self.serve(engine, at_rest.into_iter()).await
    }

    /// Reads those of the tasks that requests wait for.
    async fn serve(&self, engine: &Engine, task_ids: impl Iterator<Item = Uuid>) -> sqlx::Result<()> {
        let wanted: Vec<Uuid> = {
            let waiting = self.waiting.lock();
            task_ids.filter(|task_id| waiting.contains_key(task_id)).collect()
        };
        for task_ids in wanted.chunks(MAX_TASKS) {
            for task in engine.get_tasks(task_ids, true).await? {
                if let Some(sender) = self.waiting.lock().get(&task.summary.task_uuid)
                    && task.summary.status.is_at_rest()
                {
                    sender.send_replace(Some(Arc::new(task)));
                }
            }
        }
        Ok(())
    }
}

impl Waiter {
    /// Completes when the task has come to rest after the registration.
    pub(crate) async fn at_rest(&mut self) -> Arc<TaskDetail> {
        match self.task.wait_for(Option::is_some).await.map(|task| task.clone()) {
            Ok(Some(task)) => task,
            // The sender lives as long as this waiter, and the condition says that there is a task.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting.lock();
        // This is the last waiter: no other can subscribe while the map is locked.
        if waiting.get(&self.task_id).is_some_and(|sender| sender.receiver_count() == 1) {
            waiting.remove(&self.task_id);
        }
    }
}
