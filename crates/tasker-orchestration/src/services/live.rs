//! What pages watch: one query for all watched tasks, four times a second, and nothing while nobody watches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tasker_api::TaskSummary;
use tasker_engine::{Engine, WatchedStep, WatchedTask};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use uuid::Uuid;

/// How often to look.
const INTERVAL: Duration = Duration::from_millis(250);
/// The pause after a failed look.
const PAUSE: Duration = Duration::from_secs(1);

/// A watched task as it is. Equal pointers mean that nothing has changed.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What shows whether it has changed.
    mark: WatchedTask,
    /// The task.
    pub(crate) summary: TaskSummary,
    /// Its steps, if somebody watches them.
    pub(crate) steps: Option<Vec<WatchedStep>>,
}

/// One look at all watched tasks.
#[derive(Debug, Default)]
pub(crate) struct Look {
    asked: HashSet<Uuid>,
    tasks: HashMap<Uuid, Arc<Seen>>,
}

impl Look {
    /// The task, once it was looked at. The inner None: it does not exist.
    pub(crate) fn task(&self, task_id: Uuid) -> Option<Option<&Arc<Seen>>> {
        self.asked.contains(&task_id).then(|| self.tasks.get(&task_id))
    }
}

/// How many streams watch a task and its steps.
#[derive(Debug, Default, Clone, Copy)]
struct Watchers {
    task: usize,
    steps: usize,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Live {
    engine: Engine,
    watched: Mutex<HashMap<Uuid, Watchers>>,
    added: Notify,
    looks: watch::Sender<Arc<Look>>,
}

/// Tasks that a stream watches, until it is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    live: Arc<Live>,
    tasks: Vec<(Uuid, bool)>,
    /// The looks.
    pub(crate) looks: watch::Receiver<Arc<Look>>,
}

impl Live {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, watched: Mutex::default(), added: Notify::new(), looks: watch::Sender::default() }
    }

    /// Watches tasks. With `true`, the steps of the task too.
    pub(crate) fn subscribe(self: &Arc<Self>, tasks: Vec<(Uuid, bool)>) -> Subscription {
        let mut watched = self.watched.lock();
        for (task_id, steps) in &tasks {
            let watchers = watched.entry(*task_id).or_default();
            watchers.task += 1;
            watchers.steps += usize::from(*steps);
        }
        drop(watched);
        self.added.notify_one();
        Subscription { live: Arc::clone(self), tasks, looks: self.looks.subscribe() }
    }

    /// Looks at the watched tasks. Never returns.
    pub(crate) async fn run(&self) {
        loop {
            let asked: Vec<(Uuid, bool)> =
                self.watched.lock().iter().map(|(task_id, watchers)| (*task_id, watchers.steps > 0)).collect();
            if asked.is_empty() {
                self.looks.send_replace(Arc::default());
                self.added.notified().await;
                continue;
            }
            match self.look(&asked).await {
                Ok(look) => {
                    self.looks.send_replace(Arc::new(look));
                    sleep(INTERVAL).await;
                }
                Err(error) => {
                    // The pages show that nothing arrives, and other requests report the database.
                    tracing::debug!(%error, "cannot look at the watched tasks");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn look(&self, asked: &[(Uuid, bool)]) -> sqlx::Result<Look> {
        let before = Arc::clone(&self.looks.borrow());
        let steps_wanted: HashSet<Uuid> =
            asked.iter().filter(|(_, steps)| *steps).map(|(task_id, _)| *task_id).collect();
        let mut tasks = HashMap::new();
        let mut changed = HashMap::new();
        for mark in self.engine.watch_tasks(asked).await? {
            match before.tasks.get(&mark.task_id) {
                Some(seen) if seen.mark == mark => _ = tasks.insert(mark.task_id, Arc::clone(seen)),
                _ => _ = changed.insert(mark.task_id, mark),
            }
        }
        if !changed.is_empty() {
            let ids: Vec<Uuid> = changed.keys().copied().collect();
            for summary in self.engine.get_task_summaries(&ids).await? {
                let task_id = summary.task_uuid;
                let Some(mark) = changed.remove(&task_id) else { continue };
                // These are read after the mark. So the next look sees a change in between, and nothing is missed.
                let steps = match steps_wanted.contains(&task_id) {
                    true => Some(self.engine.watch_steps(task_id).await?),
                    false => None,
                };
                tasks.insert(task_id, Arc::new(Seen { mark, summary, steps }));
            }
        }
        Ok(Look { asked: asked.iter().map(|(task_id, _)| *task_id).collect(), tasks })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut watched = self.live.watched.lock();
        for (task_id, steps) in &self.tasks {
            if let Some(watchers) = watched.get_mut(task_id) {
                watchers.task -= 1;
                watchers.steps -= usize::from(*steps);
                if watchers.task == 0 {
                    watched.remove(task_id);
                }
            }
        }
    }
}
