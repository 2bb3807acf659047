//! What every request can reach.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tasker_engine::{Engine, NewSignal, NewTask};
use tasker_runtime::settings::Orchestration;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::bodies::Bodies;
use crate::services::batches::Batches;
use crate::services::bulk::BulkJobs;
use crate::services::live::Live;
use crate::services::metrics::Metrics;
use crate::services::outage::Outage;
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
    pub(crate) tasks: Batches<NewTask>,
    pub(crate) signals: Batches<NewSignal>,
    pub(crate) templates: Templates,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) live: Arc<Live>,
    pub(crate) bulk: Arc<BulkJobs>,
    pub(crate) stats: Arc<Statistics>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) writability: Arc<Writability>,
    pub(crate) outage: Arc<Outage>,
    pub(crate) bodies: Bodies,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) shutdown: CancellationToken,
}
