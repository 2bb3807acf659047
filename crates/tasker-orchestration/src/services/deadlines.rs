//! Cancels tasks that take longer than their template allows.
//!
//! Every server tries. Each late task is cancelled by one of them.

use std::time::Duration;

use tasker_engine::{Engine, Failure};
use tokio::time::{MissedTickBehavior, interval};

/// How often to look. Time limits are given in minutes. Without templates that have one, a look reads one index page.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most tasks of one transaction.
const BATCH: u32 = 100;

/// Cancels late tasks. Never returns.
pub(crate) async fn run(engine: Engine) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        loop {
            match engine.end_late_tasks(BATCH).await {
                Ok(tasks) if tasks.is_empty() => break,
                Ok(tasks) => tracing::info!(?tasks, "cancelled tasks that took longer than max_duration_minutes"),
                Err(error) => {
                    // Health checks report a database that cannot be written.
                    if Failure::of(&error) != Failure::NotWritable {
                        tracing::warn!(%error, "cannot look for late tasks; the next attempt is in ten seconds");
                    }
                    break;
                }
            }
        }
    }
}
