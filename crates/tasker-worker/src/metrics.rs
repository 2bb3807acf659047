//! The worker's metrics for Prometheus.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ended {
    Completed,
    RetryableError,
    PermanentError,
    /// Released at shutdown.
    Released,
    /// The step continues later.
    Waiting,
    /// The result was too late.
    Refused,
    /// Cancelled: the lease was lost or the task has ended.
    Lost,
}

impl Ended {
    /// The value of the label `outcome`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::RetryableError => "retryable_error",
            Self::PermanentError => "permanent_error",
            Self::Released => "released",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

impl EncodeLabelValue for Ended {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    namespace: String,
    outcome: Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    call: &'static str,
}

/// The metrics of one worker.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    attempts: Family<Attempt, Counter>,
    running: Gauge,
    batch_size: Histogram,
    claim: Histogram,
    schedule_to_start: Histogram,
    record: Histogram,
    database_errors: Family<Call, Counter>,
    completed: AtomicU64,
    failed: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // From 0.5 ms to 4 s.
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 14));
        let metrics = Self {
            registry: Registry::with_prefix("tasker_worker"),
            attempts: Family::default(),
            running: Gauge::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            claim: seconds(),
            // From 1 ms to 17 minutes.
            schedule_to_start: Histogram::new(exponential_buckets(0.001, 4.0, 11)),
            record: seconds(),
            database_errors: Family::default(),
            completed: AtomicU64::default(),
            failed: AtomicU64::default(),
        };
        // A series that begins with its first error hides that error from rates.
        for call in ["claim", "extend", "heartbeat", "record"] {
            metrics.database_errors.get_or_create(&Call { call }).inc_by(0);
        }
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        let attempts = "Attempts by namespace and outcome: completed, retryable_error, permanent_error, \
                        released (at shutdown), waiting (the step continues later), refused (the result was too late), \
                        lost (cancelled)";
        registry.register("attempts", attempts, self.attempts.clone());
        registry.register("running_steps", "Steps that the worker holds", self.running.clone());
        registry.register("batch_size", "Results that one transaction recorded", self.batch_size.clone());
        registry.register_with_unit("claim", "Duration of a claim", Unit::Seconds, self.claim.clone());
        registry.register_with_unit(
            "schedule_to_start",
            "Time from a step being ready to its start on this worker, with the head start of its priority; 0 for steps that \
             were handed to the worker that made them ready",
            Unit::Seconds,
            self.schedule_to_start.clone(),
        );
        registry.register_with_unit("record", "Time to record a batch of results", Unit::Seconds, self.record.clone());
        registry.register("database_errors", "Failed database calls, by call", self.database_errors.clone());
        self
    }

    pub(crate) fn attempt_ended(&self, namespace: &str, outcome: Ended) {
        self.attempts.get_or_create(&Attempt { namespace: namespace.to_owned(), outcome }).inc();
        match outcome {
            Ended::Completed => _ = self.completed.fetch_add(1, Ordering::Relaxed),
            Ended::RetryableError | Ended::PermanentError => _ = self.failed.fetch_add(1, Ordering::Relaxed),
            Ended::Released | Ended::Waiting | Ended::Refused | Ended::Lost => {}
        }
    }

    /// A step starts that was ready for so many seconds.
    pub(crate) fn started(&self, waited_seconds: f64) {
        self.schedule_to_start.observe(waited_seconds.max(0.0));
    }

    pub(crate) fn claimed(&self, duration: Duration) {
        self.claim.observe(duration.as_secs_f64());
    }

    pub(crate) fn recorded(&self, results: usize, duration: Duration) {
        self.batch_size.observe(u32::try_from(results).unwrap_or(u32::MAX).into());
        self.record.observe(duration.as_secs_f64());
    }

    pub(crate) fn database_failed(&self, call: &'static str) {
        self.database_errors.get_or_create(&Call { call }).inc();
    }

    /// The number of attempts that have completed since the start.
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// The number of attempts that have failed since the start.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns all metrics as OpenMetrics text.
    pub(crate) fn text(&self, running: usize) -> String {
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_by_namespace_and_outcome() {
        let metrics = Metrics::new();
        for outcome in [Ended::Completed, Ended::RetryableError, Ended::PermanentError, Ended::Released, Ended::Lost] {
            metrics.attempt_ended("shop", outcome);
        }
        assert_eq!((metrics.completed(), metrics.failed()), (1, 2));
        let text = metrics.text(0);
        assert!(text.contains(r#"attempts_total{namespace="shop",outcome="permanent_error"} 1"#), "{text}");
    }
}
