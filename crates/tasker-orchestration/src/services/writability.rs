//! Whether the database can be written. A standby, a read-only database and a full disk can be read, but refuse
//! every write.
//!
//! The log reports the first refusal and the end of the condition, not every request in between.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a refused write counts, unless a later write succeeds. After that the server reports ready again, so
/// that it receives requests and learns whether the condition is over.
const REFUSAL_COUNTS: Duration = Duration::from_secs(10);

const READ_ONLY: &str = "the database is read-only: a standby, or default_transaction_read_only is on";

/// What is known of the database.
#[derive(Debug, Default)]
pub(crate) struct Writability {
    refusal: Mutex<Option<Refusal>>,
}

#[derive(Debug)]
struct Refusal {
    reason: String,
    last: Instant,
    /// Whether a check found the database read-only, so that a check can also find the end.
    checked: bool,
}

impl Writability {
    /// The database refused a write for this reason.
    pub(crate) fn refused(&self, reason: &str) {
        self.note(reason, false);
    }

    /// A write succeeded.
    pub(crate) fn written(&self) {
        if self.refusal.lock().take().is_some() {
            tracing::info!("the database can be written again");
        }
    }

    /// A check found the database read-only, or not.
    pub(crate) fn checked(&self, read_only: bool) {
        if read_only {
            self.note(READ_ONLY, true);
        } else if self.refusal.lock().take_if(|refusal| refusal.checked).is_some() {
            tracing::info!("the database can be written again");
        }
    }

    /// Why the database cannot be written, as far as is known.
    pub(crate) fn refusal(&self) -> Option<String> {
        let refusal = self.refusal.lock();
        refusal.as_ref().filter(|refusal| refusal.last.elapsed() < REFUSAL_COUNTS).map(|refusal| refusal.reason.clone())
    }

    fn note(&self, reason: &str, checked: bool) {
        let mut refusal = self.refusal.lock();
        if refusal.is_none() {
            tracing::error!(reason, "the database cannot be written: writes get status 503 until it can");
        }
        let checked = checked || refusal.as_ref().is_some_and(|refusal| refusal.checked);
        *refusal = Some(Refusal { reason: reason.to_owned(), last: Instant::now(), checked });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_a_write_or_with_the_check_that_found_it() {
        let writability = Writability::default();
        assert_eq!(writability.refusal(), None);
        writability.refused("the disk is full");
        // A check reads only, so it cannot tell that the disk has space again.
        writability.checked(false);
        assert_eq!(writability.refusal().as_deref(), Some("the disk is full"));
        writability.written();
        assert_eq!(writability.refusal(), None);
        writability.checked(true);
        writability.refused("read-only transaction");
        assert!(writability.refusal().is_some());
        writability.checked(false);
        assert_eq!(writability.refusal(), None);
    }
}
