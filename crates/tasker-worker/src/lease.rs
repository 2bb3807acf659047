//! Keeps the leases of running steps.

use std::sync::Arc;

use tokio::time::sleep;

use crate::outage::{Outage, bounded};
use crate::shared::Shared;

/// Extends all leases three times within a lease, with one call each. Steps that were lost are cancelled: their tasks were
/// ended, or their leases were over and somebody else may have started them.
pub(crate) async fn keep_leases(shared: Arc<Shared>) {
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
                outage.over();
                let lost = shared.running.cancel_lost(&steps, &held.into_iter().collect());
                if lost > 0 {
                    tracing::info!(steps = lost, "leases were lost or steps cancelled; their attempts are cancelled");
                }
            }
            Err(error) => {
                shared.metrics.database_failed("extend");
                pause = outage.failed(&error).min(interval);
            }
        }
    }
}
