//! Tells the loop that claims which namespaces may have something to claim.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// When the oldest message became visible that there is to find; none: at any time.
pub(crate) type Since = Option<Instant>;

/// The namespaces to look at, gathered while nobody looks.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    namespaces: Mutex<BTreeMap<String, Since>>,
    bell: Notify,
}

impl Wake {
    /// Adds namespaces, and wakes who waits.
    pub(crate) fn ring<'a>(&self, namespaces: impl IntoIterator<Item = &'a String>, since: Since) {
        let mut waiting = self.namespaces.lock();
        for namespace in namespaces {
            match waiting.entry(namespace.clone()) {
                // None is less than all.
                Entry::Occupied(mut entry) => *entry.get_mut() = since.min(*entry.get()),
                Entry::Vacant(entry) => drop(entry.insert(since)),
            }
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// Takes the namespaces that were added since the last time.
    pub(crate) fn take(&self) -> Vec<(String, Since)> {
        std::mem::take(&mut *self.namespaces.lock()).into_iter().collect()
    }

    /// Waits until there is a namespace to take.
    pub(crate) async fn rung(&self) {
        while self.namespaces.lock().is_empty() {
            self.bell.notified().await;
        }
    }
}
