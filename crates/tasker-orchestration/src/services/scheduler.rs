//! Creates the tasks of schedules when they are due.
//!
//! Every server tries. The database lets one of them handle each slot.

use std::sync::Arc;
use std::time::Duration;

use tasker_engine::{Engine, FiredOutcome, FiredSchedule};
use tokio::time::sleep;

use super::metrics::{ScheduleLabels, TemplateLabels};
use super::{metrics::Metrics, reporter::Reporter};
use crate::trace;

/// The longest sleep. A schedule that another server stores is found after this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// The most schedules of one transaction.
const BATCH: u32 = 100;

/// The service.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) engine: Engine,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reporter: Reporter,
}

impl Scheduler {
    /// Creates tasks when they are due. Never returns.
    pub(crate) async fn run(self) {
        let mut failing = false;
        loop {
            match self.fire().await {
                Ok(pause) => {
                    failing = false;
                    sleep(pause).await;
                }
                Err(error) => {
                    if !failing {
                        self.reporter.failed(&error, "create the tasks of schedules");
                    }
                    failing = true;
                    sleep(LONGEST_SLEEP).await;
                }
            }
        }
    }

    /// Handles what is due. Returns how long to sleep.
    async fn fire(&self) -> sqlx::Result<Duration> {
        let Some(due) = self.engine.next_schedule().await?.filter(|due| *due < LONGEST_SLEEP) else {
            return Ok(LONGEST_SLEEP);
        };
        if !due.is_zero() {
            return Ok(due);
        }
        let fired = self.engine.fire_schedules(BATCH, trace::beginning).await?;
        fired.iter().for_each(|fired| self.report(fired));
        // Nothing was left: another server handles the slots at this moment.
        Ok(if fired.is_empty() { Duration::from_millis(50) } else { Duration::ZERO })
    }

    fn report(&self, fired: &FiredSchedule) {
        let FiredSchedule { name, namespace, template, slot, outcome, .. } = fired;
        let label = match outcome {
            FiredOutcome::Created(task) => {
                trace::scheduled(fired, *task);
                let (namespace, template) = (namespace.clone(), template.clone());
                self.metrics.created(&TemplateLabels { namespace, template });
                tracing::debug!(schedule = name, %task, ?slot, "a schedule created a task");
                "created"
            }
            FiredOutcome::Skipped => "skipped",
            FiredOutcome::Missed => {
                tracing::warn!(schedule = name, "the times of a schedule passed while no server was running");
                "missed"
            }
            FiredOutcome::Failed(error) => {
                tracing::warn!(schedule = name, ?slot, error, "a schedule could not create its task");
                "failed"
            }
            FiredOutcome::Outdated => return,
        };
        self.metrics.fired(&ScheduleLabels { namespace: namespace.clone(), outcome: label });
    }
}
