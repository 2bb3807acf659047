//! Whether the database responds. The log reports the first request that failed for this reason, and the end of the
//! outage, not every request in between.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A success ends an outage only if no request has failed for this long. Otherwise a database that has too few
/// connections would begin and end outages all the time.
const CALM: Duration = Duration::from_secs(1);

/// The outage of the database, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Option<Failures>>);

#[derive(Debug)]
struct Failures {
    first: Instant,
    last: Instant,
    count: u64,
}

impl Outage {
    /// A call failed because the database did not respond.
    pub(crate) fn failed(&self, error: &str) {
        let mut failures = self.0.lock();
        let now = Instant::now();
        if failures.is_none() {
            tracing::warn!(error, "the database does not respond: requests get status 503 until it does");
        }
        let failures = failures.get_or_insert(Failures { first: now, last: now, count: 0 });
        failures.last = now;
        failures.count += 1;
    }

    /// A call succeeded.
    pub(crate) fn succeeded(&self) {
        if let Some(failures) = self.0.lock().take_if(|failures| failures.last.elapsed() >= CALM) {
            let seconds = failures.first.elapsed().as_secs_f32();
            tracing::info!(seconds, failed_calls = failures.count, "the database responds again");
        }
    }
}
