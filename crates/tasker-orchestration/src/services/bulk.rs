//! Works on bulk jobs in batches. Every server does; the database lets one of them work on a job at a time. So the jobs of
//! a server that dies go on.

use std::time::Duration;

use tasker_engine::{Engine, Failure, StoredBulkJob, TaskFilter};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::reporter::Reporter;
use crate::filter::unbound_filter;

/// How often to look for jobs of other servers.
const INTERVAL: Duration = Duration::from_secs(5);
/// The most tasks of one batch.
const BATCH: u32 = 500;
/// The pause between two batches, so that other work goes on.
const PAUSE: Duration = Duration::from_millis(20);
/// The most jobs that one look works on.
const JOBS: u32 = 20;

/// The service.
#[derive(Debug)]
pub(crate) struct BulkJobs {
    engine: Engine,
    reporter: Reporter,
    created: Notify,
}

impl BulkJobs {
    pub(crate) fn new(engine: Engine, reporter: Reporter) -> Self {
        Self { engine, reporter, created: Notify::new() }
    }

    /// A job was created.
    pub(crate) fn wake(&self) {
        self.created.notify_one();
    }

    /// Works on jobs. Never returns.
    pub(crate) async fn run(&self) {
        loop {
            // Whether it was woken or not, it looks.
            let _ = timeout(INTERVAL, self.created.notified()).await;
            loop {
                match self.round().await {
                    Ok(true) => sleep(PAUSE).await,
                    Ok(false) => break,
                    Err(error) => {
                        self.reporter.failed(&error, "work on bulk jobs");
                        break;
                    }
                }
            }
        }
    }

    /// Runs one batch of every job. Returns whether there may be more to do.
    async fn round(&self) -> sqlx::Result<bool> {
        let mut progress = false;
        for job in self.engine.list_bulk_jobs(false, JOBS).await? {
            match self.batch(&job).await {
                Ok(done) => progress |= done,
                Err(error) if matches!(Failure::of(&error), Failure::BadData | Failure::Bug) => {
                    tracing::error!(job = %job.job.id, %error, "a bulk job failed");
                    self.engine.end_bulk_job(job.job.id, Some(&error.to_string())).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(progress)
    }

    async fn batch(&self, job: &StoredBulkJob) -> sqlx::Result<bool> {
        let filter = match unbound_filter(&job.job.filter) {
            Ok(filter) => filter,
            // A newer server stored a filter that this one does not know.
            Err(error) => {
                tracing::warn!(job = %job.job.id, error, "this server cannot work on a bulk job");
                return Ok(false);
            }
        };
        let before = filter.before.map_or(job.before, |before| before.min(job.before));
        let filter = TaskFilter { namespaces: job.namespaces.clone(), before: Some(before), ..filter };
        let page = self.engine.find_tasks(&filter, BATCH).await?;
        self.engine.run_bulk_batch(job, &page).await
    }
}
