//! How far back a claim has to look in its queues.
//!
//! While any transaction in the database stays open, PostgreSQL keeps what was deleted after its begin. In a queue, all that is
//! older than the messages that are there, so that every claim would pass all of it again. A worker that has just taken all
//! there was looks only at what came since. What that misses, such as a message of a transaction that took long to commit,
//! is found by a look at everything, once a second, and more seldom where it takes long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::wake::Since;

/// Messages may become known so much later than they became visible.
const MARGIN: Duration = Duration::from_millis(100);
/// Between two looks at everything, at least; and how many times what such a look takes.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const SWEEP_RATIO: u32 = 20;

/// What is known of one namespace.
#[derive(Debug)]
struct Known {
    /// No message is left that became visible before this.
    empty_before: Instant,
    next_sweep: Instant,
}

/// What is known of the queues.
#[derive(Debug, Default)]
pub(crate) struct LookBack {
    namespaces: HashMap<String, Known>,
}

impl LookBack {
    /// How long ago a message may have become visible that a claim at `now` has to find; none: at any time.
    pub(crate) fn span(&self, namespace: &str, since: Since, now: Instant) -> Option<Duration> {
        let known = self.namespaces.get(namespace)?;
        let oldest = since?.min(known.empty_before);
        (now < known.next_sweep).then(|| now.duration_since(oldest) + MARGIN)
    }

    /// Takes note of a claim that looked back as far as `span` said, and left no message that became visible before `empty_before`.
    pub(crate) fn learn(&mut self, namespace: &str, span: Option<Duration>, began: Instant, empty_before: Instant) {
        let sweep = || began + SWEEP_INTERVAL.max(began.elapsed() * SWEEP_RATIO);
        match self.namespaces.get_mut(namespace) {
            Some(known) => {
                known.empty_before = empty_before;
                if span.is_none() {
                    known.next_sweep = sweep();
                }
            }
            None if span.is_none() => {
                self.namespaces.insert(namespace.to_owned(), Known { empty_before, next_sweep: sweep() });
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
    fn looks_back_to_the_last_claim_that_took_everything() {
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
    fn looks_back_as_far_as_a_notification_says() {
        let mut look_back = LookBack::default();
        let start = Instant::now() + 100 * SECOND;
        look_back.learn("a", None, start, start);
        assert_eq!(look_back.span("a", start.checked_sub(50 * SECOND), start), Some(50 * SECOND + MARGIN));
        assert_eq!(look_back.span("a", None, start), None);
    }

    #[test]
    fn looks_at_everything_now_and_then() {
        let mut look_back = LookBack::default();
        let start = Instant::now();
        look_back.learn("a", None, start, start);
        let later = start + SWEEP_INTERVAL + SECOND;
        assert_eq!(look_back.span("a", Some(later), later), None);
        // One that took long is not done again so soon.
        let long_ago = start.checked_sub(10 * SECOND).unwrap();
        look_back.learn("a", None, long_ago, start);
        assert!(look_back.span("a", Some(start), start + 60 * SECOND).is_some());
    }
}
