//! Requests that wait until a task is at rest. They hold no database connection: one listener serves all of them, and
//! one query reads all tasks of a notification. A query every second finds the tasks whose notification was lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pgmq_notify::{Event, Listener};
use tasker_api::TaskDetail;
use tasker_engine::Engine;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::reporter::Reporter;

/// The channel on which `tasker.announce` sends the ids of tasks at rest.
pub(super) const CHANNEL: &str = "tasker.tasks_at_rest";
/// How often to query the tasks that requests wait for, in case a notification was lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The most tasks of one query. Their results can be large.
const MAX_TASKS: usize = 50;

/// Requests that wait, by task.
type Waiting = HashMap<Uuid, Vec<oneshot::Sender<Arc<TaskDetail>>>>;

/// The requests that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<Waiting>,
}

/// A request that waits for one task, until it is dropped.
pub(crate) struct Waiter {
    task_id: Uuid,
    task: oneshot::Receiver<Arc<TaskDetail>>,
    waiters: Arc<Waiters>,
}

impl Waiters {
    /// Starts to wait for a task. Query or create the task after this call, not before: the waiter hears what happens
    /// from now on.
    pub(crate) fn register(self: &Arc<Self>, task_id: Uuid) -> Waiter {
        let (sender, task) = oneshot::channel();
        self.waiting.lock().entry(task_id).or_default().push(sender);
        Waiter { task_id, task, waiters: Arc::clone(self) }
    }

    /// Gives the requests their tasks when these are at rest, until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, engine: Engine, reporter: Reporter, shutdown: CancellationToken) {
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
            if let Err(error) = served {
                reporter.failed(&error, "query the tasks that requests wait for");
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
        let mut taken = self.take(task_ids);
        let wanted: Vec<Uuid> = taken.keys().copied().collect();
        let mut served = Ok(());
        for task_ids in wanted.chunks(MAX_TASKS) {
            match engine.get_tasks(task_ids, true).await {
                Ok(tasks) => give(&mut taken, tasks),
                Err(error) => served = Err(error),
            }
        }
        self.put_back(taken);
        served
    }

    /// Takes out the requests that wait for these tasks. Those that begin to wait while the tasks are read are not among
    /// them: what is read may be older than they are.
    fn take(&self, task_ids: impl Iterator<Item = Uuid>) -> Waiting {
        let mut waiting = self.waiting.lock();
        task_ids.filter_map(|task_id| waiting.remove_entry(&task_id)).collect()
    }

    /// Lets requests wait on.
    fn put_back(&self, taken: Waiting) {
        let mut waiting = self.waiting.lock();
        for (task_id, mut senders) in taken {
            senders.retain(|sender| !sender.is_closed());
            if !senders.is_empty() {
                waiting.entry(task_id).or_default().append(&mut senders);
            }
        }
    }
}

/// Gives requests their tasks, if these are at rest.
fn give(taken: &mut Waiting, tasks: Vec<TaskDetail>) {
    for task in tasks.into_iter().filter(|task| task.summary.status.is_at_rest()) {
        let senders = taken.remove(&task.summary.task_uuid).unwrap_or_default();
        let task = Arc::new(task);
        for sender in senders {
            // A request that has ended needs it no more.
            let _ = sender.send(Arc::clone(&task));
        }
    }
}

impl Waiter {
    /// Completes when the task has come to rest after the registration.
    pub(crate) async fn at_rest(&mut self) -> Arc<TaskDetail> {
        match (&mut self.task).await {
            Ok(task) => task,
            // Senders live as long as the waiter does not give up.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.task.close();
        let mut waiting = self.waiters.waiting.lock();
        if let Some(senders) = waiting.get_mut(&self.task_id) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.task_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn blocked(task_id: Uuid) -> TaskDetail {
        serde_json::from_value(json!({
            "task_uuid": task_id, "namespace": "n", "name": "t", "version": "1.0.0", "status": "blocked_by_failures",
            "completion_percentage": 0, "total_steps": 1, "completed_steps": 0, "failed_steps": 1, "priority": 0,
            "created_at": "2030-01-01T00:00:00Z", "context": {}, "forks": [], "steps": [],
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_request_is_not_given_a_task_as_it_was_before_the_request() {
        let waiters = Arc::new(Waiters::default());
        let task_id = Uuid::now_v7();
        let mut early = waiters.register(task_id);
        let mut taken = waiters.take([task_id].into_iter());
        let task = blocked(task_id);
        // The task is read. An operator resolves it. Another request begins to wait. Then the old task arrives.
        let mut late = waiters.register(task_id);
        give(&mut taken, vec![task]);
        waiters.put_back(taken);
        assert!(early.task.try_recv().is_ok());
        assert!(late.task.try_recv().is_err());
        assert_eq!(waiters.waiting.lock()[&task_id].len(), 1);
    }

    #[tokio::test]
    async fn requests_that_have_ended_are_forgotten() {
        let waiters = Arc::new(Waiters::default());
        let task_id = Uuid::now_v7();
        drop(waiters.register(task_id));
        assert!(waiters.waiting.lock().is_empty());
        let waiter = waiters.register(task_id);
        let taken = waiters.take([task_id].into_iter());
        drop(waiter);
        waiters.put_back(taken);
        assert!(waiters.waiting.lock().is_empty());
    }
}
