//! The dashboard and the alert rules name only metrics that exist.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json;

use crate::support::{Stack, complete, fault_step, fault_template, task};

const ALERTS: &str = include_str!("../../../../deploy/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../../deploy/monitoring/dashboard.json");

/// The metrics that a text names.
fn metrics_of(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tasker_")).collect()
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_the_alerts_exists() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    // Counters appear with their first value.
    let name = fault_template(&api, &json!([fault_step("a", "faults.echo", json!({}))])).await?;
    complete(&api, &task("faults", &name, json!({}))).await?;
    // Fails if another test has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut scraped = String::new();
    for url in [&stack.orchestration_url, &stack.worker_url] {
        scraped += &http.get(format!("{url}/metrics")).send().await?.error_for_status()?.text().await?;
    }
    // A family without values yet has its help only: the counter `x_total` is then `# TYPE x counter`.
    let known = metrics_of(&scraped);
    let exists = |metric: &str| {
        ["", "_total", "_bucket", "_count"]
            .iter()
            .any(|suffix| metric.strip_suffix(suffix).is_some_and(|family| known.contains(family)))
    };
    let named: BTreeSet<_> = metrics_of(ALERTS).into_iter().chain(metrics_of(DASHBOARD)).collect();
    assert!(named.len() > 10, "{named:?}");
    let missing: Vec<_> = named.into_iter().filter(|metric| !exists(metric)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in\n{scraped}");
    Ok(())
}
