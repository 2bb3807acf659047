//! Decides how far back a claim looks in its queues.
//!
//! While a transaction in the database stays open, PostgreSQL keeps every row that was deleted after the transaction
//! began. In a queue, these dead rows come before the messages, so every claim would read all of them again. A worker
//! that has just claimed every message therefore looks only at newer ones. This can miss messages, such as one whose
//! transaction took long to commit. A full scan finds them: once a second, or less often if it takes long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::wake::Since;

/// How much later than its visible time a message may be committed and still be found without a full scan.
const MARGIN: Duration = Duration::from_millis(100);
/// The shortest time between two full scans.
const FULL_SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two full scans is at least this many times the duration of one.
const FULL_SCAN_RATIO: u32 = 20;

/// What is known about one namespace.
#[derive(Debug)]
struct Known {
    /// Every message that became visible before this time is claimed.
    empty_before: Instant,
    /// When the next full scan is due.
    next_full_scan: Instant,
}

/// What is known about the queues.
#[derive(Debug, Default)]
pub(crate) struct LookBack {
    namespaces: HashMap<String, Known>,
}

impl LookBack {
    /// Returns how far back a claim at `now` has to look; none for a full scan.
    pub(crate) fn span(&self, namespace: &str, since: Since, now: Instant) -> Option<Duration> {
        let known = self.namespaces.get(namespace)?;
        let oldest = since?.min(known.empty_before);
        (now < known.next_full_scan).then(|| now.duration_since(oldest) + MARGIN)
    }

    /// Learns from a claim that looked back by `span` and left no message that became visible before `empty_before`.
    pub(crate) fn learn(&mut self, namespace: &str, span: Option<Duration>, began: Instant, empty_before: Instant) {
        let next_full_scan = || began + FULL_SCAN_INTERVAL.max(began.elapsed() * FULL_SCAN_RATIO);
        match self.namespaces.get_mut(namespace) {
            Some(known) => {
                known.empty_before = empty_before;
                if span.is_none() {
                    known.next_full_scan = next_full_scan();
                }
            }
            None if span.is_none() => {
                self.namespaces.insert(namespace.to_owned(), Known { empty_before, next_full_scan: next_full_scan() });
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_claim_looks_back_to_the_last_one_that_claimed_everything() {
        let mut look_back = LookBack::default();
        let start = Instant::now();
        assert_eq!(look_back.span("a", Some(start), start), None);
        look_back.learn("a", None, start, start);
        let later = start + SECOND / 2;
        assert_eq!(look_back.span("a", Some(later), later), Some(SECOND / 2 + MARGIN));
        assert_eq!(look_back.span("b", Some(later), later), None);

        look_back.learn("a", Some(SECOND / 2), later, later);
        assert_eq!(look_back.span("a", Some(later), later), Some(MARGIN));
    }

    #[test]
    fn a_claim_looks_back_as_far_as_a_notification_says() {
        let mut look_back = LookBack::default();
        let start = Instant::now() + 100 * SECOND;
        look_back.learn("a", None, start, start);
        assert_eq!(look_back.span("a", start.checked_sub(50 * SECOND), start), Some(50 * SECOND + MARGIN));
        assert_eq!(look_back.span("a", None, start), None);
    }

    #[test]
    fn full_scans_are_repeated() {
        let mut look_back = LookBack::default();
        let start = Instant::now();
        look_back.learn("a", None, start, start);
        let later = start + FULL_SCAN_INTERVAL + SECOND;
        assert_eq!(look_back.span("a", Some(later), later), None);
        // A long scan makes the next one wait longer.
        let long_ago = start.checked_sub(10 * SECOND).unwrap();
        look_back.learn("a", None, long_ago, start);
        assert!(look_back.span("a", Some(start), start + 60 * SECOND).is_some());
    }
}
