//! What the server does behind its API.

pub(crate) mod creator;
pub(crate) mod deadlines;
pub(crate) mod housekeeping;
pub(crate) mod metrics;
pub(crate) mod outage;
pub(crate) mod scheduler;
pub(crate) mod templates;
pub(crate) mod waiters;
pub(crate) mod writability;
