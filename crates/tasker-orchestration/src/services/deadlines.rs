//! Looks after tasks that do not go on: cancels those that take longer than their template allows, opens investigations
//! of those that are blocked by failures, and looks after gates.
//!
//! Every server tries. Each task is handled once.

use std::time::Duration;

use tasker_engine::Engine;
use tokio::time::{MissedTickBehavior, interval};

use super::reporter::Reporter;

/// How often to look. Time limits are given in minutes. Without templates that have one, a look reads one index page.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most tasks of one transaction.
const BATCH: u32 = 100;

/// Looks after tasks. Never returns.
pub(crate) async fn run(engine: Engine, reporter: Reporter) {
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Err(error) = look(&engine).await {
            reporter.failed(&error, "look after late and blocked tasks");
        }
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
        tracing::info!(?tasks, "cancelled tasks that took longer than max_duration_minutes");
    }
}
