//! What a loop does while the database fails: it waits longer each time, and says so once.

use std::time::{Duration, Instant};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// A statement that takes longer is given up: the connection may be dead without a word.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// One loop's view of the database.
#[derive(Debug)]
pub(crate) struct Outage {
    /// What cannot be done while it lasts, such as `claim steps`.
    what: &'static str,
    began: Option<Instant>,
    delay: Duration,
}

impl Outage {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, began: None, delay: FIRST_DELAY }
    }

    /// To be called after a failure. Returns how long to wait before the next attempt.
    pub(crate) fn failed(&mut self, error: &sqlx::Error) -> Duration {
        if self.began.is_none() {
            self.began = Some(Instant::now());
            self.delay = FIRST_DELAY;
            tracing::warn!(%error, "cannot {}; trying again until it works", self.what);
        } else {
            tracing::debug!(%error, "still cannot {}", self.what);
        }
        let delay = self.delay;
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        delay
    }

    /// To be called after a success.
    pub(crate) fn over(&mut self) {
        if let Some(began) = self.began.take() {
            tracing::info!(seconds = began.elapsed().as_secs_f32(), "can {} again", self.what);
        }
    }
}

/// Waits for a call of the engine, but not for ever.
pub(crate) async fn bounded<T>(call: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} s", CALL_TIMEOUT.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_two_seconds_and_starts_anew_with_each_outage() {
        let mut outage = Outage::new("do it");
        let error = sqlx::Error::PoolTimedOut;
        let delays: Vec<_> = (0..6).map(|_| outage.failed(&error).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 2000]);
        outage.over();
        assert_eq!(outage.failed(&error).as_millis(), 100);
    }
}
