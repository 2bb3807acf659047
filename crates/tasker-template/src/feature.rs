//! The features of the format beyond steps, retries and dependencies, and which of them the engine runs.
//!
//! A feature that the engine does not run is still parsed and checked. A warning says what happens instead.

/// A feature of the format that a release of the engine may not run yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `type: decision` and `type: deferred_convergence`.
    Decisions,
    /// `when`.
    Conditions,
    /// `type: batchable`, `type: batch_worker` and `batch_config`.
    Batches,
    /// `map`.
    Maps,
    /// `wait`.
    Waits,
    /// `concurrency`.
    Concurrency,
    /// `rate`.
    Rate,
    /// `task`.
    ChildTasks,
    /// `lifecycle.max_duration_minutes` and `lifecycle.staleness_action`.
    TimeLimits,
    /// The other fields of `lifecycle`.
    Staleness,
    /// `publishes_events`.
    Events,
    /// `environments`.
    Environments,
}

/// The features that the engine of this release runs. All others are reported with a warning.
pub const SUPPORTED: &[Feature] = &[
    Feature::Decisions,
    Feature::Conditions,
    Feature::Batches,
    Feature::Maps,
    Feature::Waits,
    Feature::Concurrency,
    Feature::Rate,
    Feature::ChildTasks,
    Feature::TimeLimits,
    Feature::Staleness,
    Feature::Events,
    Feature::Environments,
];

impl Feature {
    /// Whether the engine of this release runs the feature.
    pub fn is_supported(self) -> bool {
        SUPPORTED.contains(&self)
    }

    /// What happens instead while the feature is not supported.
    pub(crate) const fn instead(self) -> &'static str {
        match self {
            Self::Decisions => "every step runs once, as an ordinary step",
            Self::Conditions => "the step runs whatever the results of its dependencies are",
            Self::Batches => "the step is not split into batches",
            Self::Maps => "the step runs once, not once for each element",
            Self::Waits => "the step starts when its dependencies have completed",
            Self::Concurrency | Self::Rate => "the step starts without a limit",
            Self::ChildTasks => "no child task is created",
            Self::TimeLimits => "a task has no time limit; each step has `timeout_seconds`",
            Self::Staleness => "nobody looks for stale tasks",
            Self::Events => "domain events are not published",
            Self::Environments => "every environment has the same settings",
        }
    }
}
