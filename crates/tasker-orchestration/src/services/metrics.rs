//! Metrics for Prometheus.

use std::time::Duration;

use axum::http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Labels of a finished request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// One of a few known methods: a client can send any word as a method, and each value of a label costs memory.
    method: &'static str,
    /// The pattern of the route, not the path.
    route: String,
    status: u16,
}

impl RequestLabels {
    /// Labels with a bounded number of values, whatever clients send.
    pub(crate) fn new(method: &Method, route: Option<&str>, status: u16) -> Self {
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            "OPTIONS" => "OPTIONS",
            _ => "other",
        };
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

/// The metrics of the server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Histogram>,
    created: Family<TemplateLabels, Counter>,
    deleted: Family<DeletedLabels, Counter>,
    fired: Family<ScheduleLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
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
        Self { registry, requests, created, deleted, fired, refused }
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
}
