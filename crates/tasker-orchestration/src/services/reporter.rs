//! What a service does when a call of the database fails: it reports it, and tries again later.

use std::sync::Arc;

use tasker_engine::Failure;

use super::outage::Outage;
use super::writability::Writability;

/// Reports failed calls of services. An outage and a database that cannot be written are reported once, however many
/// services and requests meet them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reporter {
    pub(crate) outage: Arc<Outage>,
    pub(crate) writability: Arc<Writability>,
}

impl Reporter {
    /// A service could not do something, for example "delete old tasks".
    pub(crate) fn failed(&self, error: &sqlx::Error, what: &str) {
        match Failure::of(error) {
            Failure::NotWritable => self.writability.refused(&error.to_string()),
            Failure::Unavailable => self.outage.failed(&error.to_string()),
            Failure::BadData | Failure::Bug => tracing::warn!(%error, "cannot {what}; tries again"),
        }
    }
}
