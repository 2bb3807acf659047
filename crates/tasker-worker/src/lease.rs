//! Extends the leases of running steps.

use std::sync::Arc;

use tokio::time::sleep;

use crate::outage::{Outage, bounded};
use crate::shared::Shared;

/// Extends all leases with one call, three times in the length of a lease. A lost step is cancelled: its task has
/// ended, or its lease has expired and another worker may have started it.
pub(crate) async fn extend_leases(shared: Arc<Shared>) {
    let interval = shared.settings.lease() / 3;
    let mut pause = interval;
    let mut outage = Outage::new("extend leases");
    while shared.ended.run_until_cancelled(sleep(pause)).await.is_some() {
        pause = interval;
        let steps = shared.running.steps();
        if steps.is_empty() {
            continue;
        }
        match bounded(shared.engine.extend_leases(shared.settings.lease(), &steps)).await {
            Ok(held) => {
                outage.recovered();
                let lost = shared.running.cancel_lost(&steps, &held.into_iter().collect());
                if lost > 0 {
                    tracing::info!(steps = lost, "leases were lost or tasks ended; the attempts are cancelled");
                }
            }
            Err(error) => {
                shared.metrics.database_failed("extend");
                pause = outage.failed(&error).min(interval);
            }
        }
    }
}
