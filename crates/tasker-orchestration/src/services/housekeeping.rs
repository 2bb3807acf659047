//! Deletes finished tasks, rejected messages and domain events that are older than the settings allow. A namespace can have its own age
//! for tasks.
//!
//! Every server tries, and the database lets one of them delete at a time. Batches are small, with pauses in
//! between, so that they do not slow down other work.

use std::sync::Arc;
use std::time::Duration;

use tasker_engine::{DeletedTasks, Engine};
use tasker_runtime::settings::Retention;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::metrics::Metrics;
use super::reporter::Reporter;

/// How often to look. A look that finds nothing reads one index entry for each namespace and final state.
const INTERVAL: Duration = Duration::from_secs(60);
/// Tasks or messages of one transaction, which takes some milliseconds.
const BATCH: u32 = 500;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The pause between two batches. It is much longer than a batch takes.
const PAUSE: Duration = Duration::from_millis(100);

/// The service.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    pub(crate) engine: Engine,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reporter: Reporter,
    pub(crate) retention: Retention,
}

impl Housekeeping {
    /// Deletes what is too old, now and then every minute. Never returns.
    pub(crate) async fn run(self) {
        let mut looks = interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = self.sweep().await {
                self.reporter.failed(&error, "delete old tasks and messages");
            }
        }
    }

    async fn sweep(&self) -> sqlx::Result<()> {
        for namespace in self.engine.list_namespaces().await? {
            let age = match namespace.finished_tasks_days {
                None => self.retention.finished_tasks(),
                Some(0) => None,
                Some(days) => Some(DAY * days),
            };
            if let Some(age) = age {
                self.delete_tasks(&namespace.namespace, age).await?;
            }
            if let (Some(age), Some(_)) = (self.retention.events(), &namespace.event_queue) {
                while self.count("events", self.engine.delete_old_events(&namespace.namespace, age, BATCH).await?).await
                {
                }
            }
        }
        if let Some(age) = self.retention.rejected_messages() {
            while self.count("rejected_messages", self.engine.delete_rejected_messages(age, BATCH).await?).await {}
        }
        Ok(())
    }

    /// Counts a batch. Returns whether there may be another one, after a pause.
    async fn count(&self, what: &'static str, deleted: i64) -> bool {
        self.metrics.deleted(what, deleted);
        let full = deleted >= i64::from(BATCH);
        if full {
            sleep(PAUSE).await;
        }
        full
    }

    async fn delete_tasks(&self, namespace: &str, age: Duration) -> sqlx::Result<()> {
        let mut after = None;
        let mut deleted = 0;
        loop {
            let DeletedTasks { tasks, steps, transitions, next } =
                self.engine.delete_finished_tasks(namespace, age, after, BATCH).await?;
            self.metrics.deleted("tasks", tasks);
            self.metrics.deleted("steps", steps);
            self.metrics.deleted("transitions", transitions);
            deleted += tasks;
            if next.is_none() {
                break;
            }
            after = next;
            sleep(PAUSE).await;
        }
        if deleted > 0 {
            tracing::info!(namespace, tasks = deleted, "deleted tasks that finished long ago");
        }
        Ok(())
    }
}
