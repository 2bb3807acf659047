//! Looks after tasks that do not go on: cancels or investigates those that take longer than their template allows or are
//! stale, and opens investigations of those that are blocked by failures. Also looks after gates.
//!
//! Every server tries. Each task is handled once.

use std::time::Duration;

use tasker_engine::Engine;
use tokio::time::{MissedTickBehavior, interval};

use super::reporter::Reporter;

/// How often to look. Time limits are given in minutes. Without templates that have one, a look reads one index page.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often to look for stale tasks. A look reads the steps of all open tasks of the templates that name a limit.
const STALE_INTERVAL: Duration = Duration::from_secs(60);
/// The most tasks of one transaction.
const BATCH: u32 = 100;

/// Looks after tasks. Never returns.
pub(crate) async fn run(engine: Engine, reporter: Reporter) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stale_looks = interval(STALE_INTERVAL);
    stale_looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (looked, what) = tokio::select! {
            _ = looks.tick() => (look(&engine).await, "look after late and blocked tasks"),
            _ = stale_looks.tick() => (look_for_stale(&engine).await, "look for stale tasks"),
        };
        if let Err(error) = looked {
            reporter.failed(&error, what);
        }
    }
}

async fn look_for_stale(engine: &Engine) -> sqlx::Result<()> {
    loop {
        let tasks = engine.end_stale_tasks(BATCH).await?;
        if tasks.is_empty() {
            return Ok(());
        }
        tracing::info!(?tasks, "gave up stale tasks");
    }
}

async fn look(engine: &Engine) -> sqlx::Result<()> {
    engine.open_blocked_dead_letters(BATCH).await?;
    engine.end_orphans(BATCH).await?;
    let (lost, _) = engine.tend_gates(BATCH).await?;
    if lost > 0 {
        tracing::warn!(tasks = lost, "released slots of gates that steps held although they had ended");
    }
    loop {
        let tasks = engine.end_late_tasks(BATCH).await?;
        if tasks.is_empty() {
            return Ok(());
        }
        tracing::info!(?tasks, "gave up tasks that took longer than max_duration_minutes");
    }
}
