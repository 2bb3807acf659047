//! Deletes what the settings keep no longer: finished tasks and rejected messages.
//!
//! Every server tries; the database lets one delete at a time. Batches are small, with pauses between them, so that nobody who
//! works notices.

use std::sync::Arc;
use std::time::Duration;

use tasker_engine::DeletedTasks;
use tasker_runtime::settings::Retention;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::server::State;

/// How often to look. A look that finds nothing reads one entry of an index for each namespace and final state.
const INTERVAL: Duration = Duration::from_secs(60);
/// Tasks or messages of one transaction: some milliseconds of work.
const BATCH: u32 = 500;
/// Between the batches: most of the time the database is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// Deletes what is over age, at once and then every minute, until the server shuts down.
pub(crate) async fn run(state: Arc<State>, retention: Retention) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let keeping = async {
        loop {
            looks.tick().await;
            if let Err(error) = sweep(&state, &retention).await {
                tracing::warn!(%error, "what is over age could not be deleted; the next look will find it");
            }
        }
    };
    state.shutdown.run_until_cancelled(keeping).await;
}

/// Deletes all that is over age.
async fn sweep(state: &State, retention: &Retention) -> sqlx::Result<()> {
    if let Some(age) = retention.finished_tasks() {
        for namespace in state.engine.list_namespaces().await? {
            delete_tasks(state, &namespace.namespace, age).await?;
        }
    }
    if let Some(age) = retention.rejected_messages() {
        loop {
            let deleted = state.engine.delete_rejected_messages(age, BATCH).await?;
            state.metrics.deleted("rejected_messages", deleted);
            if deleted < i64::from(BATCH) {
                break;
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

async fn delete_tasks(state: &State, namespace: &str, age: Duration) -> sqlx::Result<()> {
    let mut after = None;
    let mut deleted = 0;
    loop {
        let DeletedTasks { tasks, steps, transitions, next } =
            state.engine.delete_finished_tasks(namespace, age, after, BATCH).await?;
        state.metrics.deleted("tasks", tasks);
        state.metrics.deleted("steps", steps);
        state.metrics.deleted("transitions", transitions);
        deleted += tasks;
        if next.is_none() {
            break;
        }
        after = next;
        sleep(PAUSE).await;
    }
    if deleted > 0 {
        tracing::info!(namespace, tasks = deleted, "tasks that finished long ago are deleted");
    }
    Ok(())
}
