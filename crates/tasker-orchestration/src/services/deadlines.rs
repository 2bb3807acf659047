//! Looks after tasks that do not go on: cancels those that take longer than their template allows, and opens
//! investigations of those that are blocked by failures.
//!
//! Every server tries. Each task is handled once.

use std::time::Duration;

use tasker_engine::{Engine, Failure};
use tokio::time::{MissedTickBehavior, interval};

/// How often to look. Time limits are given in minutes. Without templates that have one, a look reads one index page.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most tasks of one transaction.
const BATCH: u32 = 100;

/// Looks after tasks. Never returns.
pub(crate) async fn run(engine: Engine) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Err(error) = engine.open_blocked_dead_letters(BATCH).await
            && Failure::of(&error) != Failure::NotWritable
        {
            tracing::warn!(%error, "cannot open investigations of blocked tasks; the next attempt is in ten seconds");
        }
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
