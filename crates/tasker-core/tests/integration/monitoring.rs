//! The dashboard and the alert rules name only metrics that exist.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json;
use tasker_api::{OpenDeadLetter, OperatorAction};
use tasker_client::OrchestrationApiClient;

use crate::support::{Stack, complete, eventually, fault_step, fault_template, task};

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
    let sleeps = fault_step("sleeps", "faults.sleep", json!({ "ms": 60_000 }));
    let name = fault_template(&api, &json!([sleeps])).await?;
    let task_uuid = api.create_task(&task("faults", &name, json!({}))).await?.task_uuid;
    api.open_dead_letter(&OpenDeadLetter { task_uuid, resolution_notes: None }).await?;
    // Fails if another test has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let scrape = async |url: &str| -> Result<String> {
        Ok(http.get(format!("{url}/metrics")).send().await?.error_for_status()?.text().await?)
    };
    // The statistics can be two seconds old.
    let of_server = eventually("the investigation is counted", async || {
        let text = scrape(&stack.orchestration_url).await?;
        let counted = text.contains(r#"tasker_dead_letters{namespace="faults",reason="manual_dlq"}"#);
        Ok(counted.then_some(text))
    })
    .await?;
    api.cancel_task(task_uuid, &OperatorAction::default()).await?;
    let scraped = of_server + &scrape(&stack.worker_url).await?;
    // A family without values yet has its help only: the counter `x_total` is then `# TYPE x counter`.
    let mut known = metrics_of(&scraped);
    // A schedule fires once a minute, which is too seldom for a test. A test of the server has its name.
    known.insert("tasker_schedules_fired");
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
