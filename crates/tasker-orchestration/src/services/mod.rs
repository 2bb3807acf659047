//! What the server does behind its API.

pub(crate) mod batches;
pub(crate) mod bulk;
pub(crate) mod deadlines;
pub(crate) mod housekeeping;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod outage;
pub(crate) mod reporter;
pub(crate) mod rests;
pub(crate) mod scheduler;
pub(crate) mod stats;
pub(crate) mod templates;
pub(crate) mod waiters;
pub(crate) mod writability;
