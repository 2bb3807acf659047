//! Tells the `claim` loop which namespaces may have steps to claim.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// When the oldest unclaimed message became visible; none if that is unknown.
pub(crate) type Since = Option<Instant>;

/// The namespaces that the next claim should look at.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    namespaces: Mutex<BTreeMap<String, Since>>,
    added: Notify,
}

impl Wake {
    /// Adds namespaces and wakes the `claim` loop.
    pub(crate) fn notify<'a>(&self, namespaces: impl IntoIterator<Item = &'a String>, since: Since) {
        let mut waiting = self.namespaces.lock();
        for namespace in namespaces {
            match waiting.entry(namespace.clone()) {
                // None is less than every time.
                Entry::Occupied(mut entry) => *entry.get_mut() = since.min(*entry.get()),
                Entry::Vacant(entry) => drop(entry.insert(since)),
            }
        }
        drop(waiting);
        self.added.notify_one();
    }

    /// Takes the namespaces that were added since the last call.
    pub(crate) fn take(&self) -> Vec<(String, Since)> {
        std::mem::take(&mut *self.namespaces.lock()).into_iter().collect()
    }

    /// Waits until there is a namespace to take.
    pub(crate) async fn notified(&self) {
        while self.namespaces.lock().is_empty() {
            self.added.notified().await;
        }
    }
}
