//! What a loop does while the database fails: it retries with growing delays, and logs one warning.

use std::time::{Duration, Instant};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// How long a call may take. The connection may be dead without an error.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The outage that one loop sees, if there is one.
#[derive(Debug)]
pub(crate) struct Outage {
    /// What the loop cannot do during an outage, such as `claim steps`.
    what: &'static str,
    began: Option<Instant>,
    delay: Duration,
}

impl Outage {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, began: None, delay: FIRST_DELAY }
    }

    /// Call this after a failure. Returns how long to wait before the next call.
    pub(crate) fn failed(&mut self, error: &sqlx::Error) -> Duration {
        if self.began.is_none() {
            self.began = Some(Instant::now());
            self.delay = FIRST_DELAY;
            tracing::warn!(%error, "cannot {}; retrying until it succeeds", self.what);
        } else {
            tracing::debug!(%error, "still cannot {}", self.what);
        }
        let delay = self.delay;
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        delay
    }

    /// Call this after a success.
    pub(crate) fn recovered(&mut self) {
        if let Some(began) = self.began.take() {
            tracing::info!(seconds = began.elapsed().as_secs_f32(), "can {} again", self.what);
        }
    }
}

/// Waits for a call of the engine, up to [`CALL_TIMEOUT`].
pub(crate) async fn bounded<T>(call: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| {
        let message = format!("no response within {} s", CALL_TIMEOUT.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_two_seconds_and_each_outage_starts_over() {
        let mut outage = Outage::new("do it");
        let error = sqlx::Error::PoolTimedOut;
        let delays: Vec<_> = (0..6).map(|_| outage.failed(&error).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 2000]);
        outage.recovered();
        assert_eq!(outage.failed(&error).as_millis(), 100);
    }
}
