//! Metrics for Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::stats::Everything;

/// Labels of a finished request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// One of a few known methods: a client can send any word as a method, and each value of a label costs memory.
    method: &'static str,
    /// The pattern of the route, not the path.
    route: String,
    status: u16,
}

/// The name of a method, if it is one of those that clients should send.
pub(crate) fn known_method(method: &Method) -> Option<&'static str> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str())
}

impl RequestLabels {
    /// Labels with a bounded number of values, whatever clients send.
    pub(crate) fn new(method: &Method, route: Option<&str>, status: u16) -> Self {
        let method = known_method(method).unwrap_or("other");
        Self { method, route: route.unwrap_or("none").to_owned(), status }
    }
}

/// Labels of a created task. Only stored templates have tasks, so clients cannot choose the values freely.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TemplateLabels {
    pub(crate) namespace: String,
    pub(crate) template: String,
}

/// Labels of a request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

/// Labels of deleted rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeletedLabels {
    table: &'static str,
}

/// Labels of a handled time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ScheduleLabels {
    pub(crate) namespace: String,
    /// `created`, `skipped`, `missed` or `failed`.
    pub(crate) outcome: &'static str,
}

/// Labels of the tasks in a state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    namespace: String,
    state: &'static str,
}

/// Labels of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    namespace: String,
}

/// Labels of open investigations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeadLetterLabels {
    namespace: String,
    reason: String,
}

/// Labels of a gate. Only stored templates have gates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GateLabels {
    namespace: String,
    gate: String,
}

/// Labels of the workers in a state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabels {
    state: &'static str,
}

/// What the statistics show, as they were at the last scrape. Every server of a database shows the same.
#[derive(Debug, Default)]
struct Gauges {
    tasks: Family<StateLabels, Gauge>,
    ready: Family<QueueLabels, Gauge>,
    hidden: Family<QueueLabels, Gauge>,
    oldest_ready: Family<QueueLabels, Gauge<f64, AtomicU64>>,
    unserved: Family<QueueLabels, Gauge>,
    dead_letters: Family<DeadLetterLabels, Gauge>,
    workers: Family<WorkerLabels, Gauge>,
    holding: Family<GateLabels, Gauge>,
    waiting: Family<GateLabels, Gauge>,
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        registry.register("tasks", "Tasks by namespace and state, up to 10,001 each", self.tasks.clone());
        registry.register(
            "queue_ready_steps",
            "Steps that wait for a worker, by namespace, up to 10,001",
            self.ready.clone(),
        );
        registry.register(
            "queue_hidden_steps",
            "Steps that run or wait for their next attempt, by namespace, up to 10,001",
            self.hidden.clone(),
        );
        registry.register_with_unit(
            "queue_oldest_ready",
            "How long the ready step that has waited longest has been waiting, by namespace",
            Unit::Seconds,
            self.oldest_ready.clone(),
        );
        registry.register(
            "unserved_handlers",
            "Callables that open tasks need and that no live worker of their namespace has",
            self.unserved.clone(),
        );
        registry.register(
            "dead_letters",
            "Open investigations by namespace and reason, up to 10,001",
            self.dead_letters.clone(),
        );
        registry.register("workers", "Workers by state: running, draining, lost", self.workers.clone());
        registry.register("gate_holding_steps", "Steps that hold a slot of a gate, up to 10,001", self.holding.clone());
        registry.register(
            "gate_waiting_steps",
            "Steps that wait for a slot of a gate, up to 10,001",
            self.waiting.clone(),
        );
    }

    /// Shows these statistics, and nothing of earlier ones.
    fn set(&self, everything: &Everything) {
        self.clear();
        let stats = &everything.stats;
        let namespace = |namespace: &str| QueueLabels { namespace: namespace.to_owned() };
        for row in &stats.tasks {
            let labels = StateLabels { namespace: row.namespace.clone(), state: row.status.as_str() };
            self.tasks.get_or_create(&labels).set(row.count);
        }
        for queue in &stats.queues {
            let labels = namespace(&queue.namespace);
            self.ready.get_or_create(&labels).set(queue.ready);
            self.hidden.get_or_create(&labels).set(queue.hidden);
            self.oldest_ready.get_or_create(&labels).set(queue.oldest_ready_seconds.unwrap_or(0.0));
            self.unserved.get_or_create(&labels).set(0);
        }
        for handler in &stats.unserved {
            self.unserved.get_or_create(&namespace(&handler.namespace)).inc();
        }
        for (namespace, reason, count) in &everything.dead_letters {
            let labels = DeadLetterLabels { namespace: namespace.clone(), reason: reason.clone() };
            self.dead_letters.get_or_create(&labels).set(*count);
        }
        for gate in &stats.gates {
            let labels = GateLabels { namespace: gate.namespace.clone(), gate: gate.name.clone() };
            self.holding.get_or_create(&labels).set(gate.holding);
            self.waiting.get_or_create(&labels).set(gate.waiting);
        }
        let workers = &stats.workers;
        for (state, count) in [("running", workers.running), ("draining", workers.draining), ("lost", workers.lost)] {
            self.workers.get_or_create(&WorkerLabels { state }).set(i64::from(count));
        }
    }

    fn clear(&self) {
        self.tasks.clear();
        self.ready.clear();
        self.hidden.clear();
        self.oldest_ready.clear();
        self.unserved.clear();
        self.dead_letters.clear();
        self.workers.clear();
        self.holding.clear();
        self.waiting.clear();
    }
}

/// The metrics of the server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Histogram>,
    created: Family<TemplateLabels, Counter>,
    deleted: Family<DeletedLabels, Counter>,
    fired: Family<ScheduleLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    gauges: Gauges,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("tasker");
        let requests =
            Family::new_with_constructor((|| Histogram::new(exponential_buckets(0.001, 2.0, 15))) as fn() -> Histogram);
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request to its response",
            Unit::Seconds,
            requests.clone(),
        );
        let created = Family::default();
        registry.register("tasks_created", "Tasks created by this server", created.clone());
        let deleted = Family::default();
        registry.register("rows_deleted", "Old rows deleted by this server", deleted.clone());
        let fired = Family::default();
        registry.register("schedules_fired", "Times of schedules handled by this server", fired.clone());
        let refused = Family::default();
        registry.register(
            "requests_refused",
            "Requests without a valid key or token (unauthenticated), or for something that it does not allow (forbidden)",
            refused.clone(),
        );
        let gauges = Gauges::default();
        gauges.register(&mut registry);
        Self { registry, requests, created, deleted, fired, refused, gauges }
    }

    pub(crate) fn request(&self, labels: &RequestLabels, took: Duration) {
        self.requests.get_or_create(labels).observe(took.as_secs_f64());
    }

    pub(crate) fn created(&self, labels: &TemplateLabels) {
        self.created.get_or_create(labels).inc();
    }

    pub(crate) fn deleted(&self, table: &'static str, rows: i64) {
        self.deleted.get_or_create(&DeletedLabels { table }).inc_by(u64::try_from(rows).unwrap_or(0));
    }

    pub(crate) fn fired(&self, labels: &ScheduleLabels) {
        self.fired.get_or_create(labels).inc();
    }

    /// Counts a refused request; `reason` is `unauthenticated` or `forbidden`.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// Shows these statistics at the next scrape. Without a database there are none, and old ones would deceive.
    pub(crate) fn show(&self, everything: Option<&Everything>) {
        match everything {
            Some(everything) => self.gauges.set(everything),
            None => self.gauges.clear(),
        }
    }

    /// Encodes the metrics in the OpenMetrics text format.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_add_labels() {
        let metrics = Metrics::new();
        let size = |metrics: &Metrics| metrics.encode().unwrap().len();
        let mut first = 0;
        for number in 0..1_000 {
            let method = Method::from_bytes(format!("METHOD{number}").as_bytes()).unwrap();
            metrics.request(&RequestLabels::new(&method, None, 405), Duration::from_millis(1));
            if number == 0 {
                first = size(&metrics);
            }
        }
        assert!(size(&metrics) < first + 100, "{}", metrics.encode().unwrap());
    }

    #[test]
    fn an_alert_finds_the_failures_of_schedules() {
        let metrics = Metrics::new();
        metrics.fired(&ScheduleLabels { namespace: "shop".to_owned(), outcome: "failed" });
        let expected = r#"tasker_schedules_fired_total{namespace="shop",outcome="failed"} 1"#;
        assert!(metrics.encode().unwrap().contains(expected));
    }
}
