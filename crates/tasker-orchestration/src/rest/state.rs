//! What every request can reach.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tasker_engine::Engine;
use tasker_runtime::settings::Orchestration;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use crate::services::bulk::BulkJobs;
use crate::services::creator::Creator;
use crate::services::live::Live;
use crate::services::metrics::Metrics;
use crate::services::stats::Statistics;
use crate::services::templates::Templates;
use crate::services::waiters::Waiters;
use crate::services::writability::Writability;

/// What every request can reach.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) access: Access,
    pub(crate) engine: Engine,
    pub(crate) settings: Orchestration,
    pub(crate) creator: Creator,
    pub(crate) templates: Templates,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) live: Arc<Live>,
    pub(crate) bulk: Arc<BulkJobs>,
    pub(crate) stats: Arc<Statistics>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) writability: Arc<Writability>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) shutdown: CancellationToken,
}
