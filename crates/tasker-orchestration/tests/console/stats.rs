//! Counts, queues, workers and missing handlers.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::support::Stack;

#[tokio::test]
async fn statistics_show_tasks_queues_workers_and_missing_handlers() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    stack.store_template("stock").await?;
    stack.create("shop", json!({})).await?;
    stack.create("shop", json!({})).await?;
    stack.create("stock", json!({ "priority": 100 })).await?;
    stack.heartbeat("w1", &["shop"], &["c.a"]).await?;
    stack.heartbeat("w2", &["shop", "stock"], &["c.a"]).await?;
    ensure!(stack.claim("shop").await?.len() == 2);

    let stats = stack.get("/v1/stats").await?;
    let counts = json!([
        { "namespace": "shop", "status": "in_progress", "count": 2 },
        { "namespace": "stock", "status": "pending", "count": 1 },
    ]);
    assert_eq!(stats["tasks"], counts, "{stats}");
    let queues = stats["queues"].as_array().cloned().unwrap_or_default();
    ensure!(queues.len() == 2 && queues[0]["hidden"] == 2 && queues[0]["oldest_ready_seconds"].is_null(), "{stats}");
    let oldest = queues[1]["oldest_ready_seconds"].as_f64();
    // The head start of the priority is not time that the step has waited.
    ensure!(queues[1]["ready"] == 1 && oldest.is_some_and(|oldest| (0.0..60.0).contains(&oldest)), "{stats}");
    assert_eq!((&stats["workers"]["running"], &stats["workers"]["running_steps"]), (&json!(2), &json!(2)));
    let missing = |namespace: &str, tasks: i64| json!({ "namespace": namespace, "callable": "c.b", "templates": ["t"], "open_tasks": tasks });
    assert_eq!(stats["unserved"], json!([missing("shop", 2), missing("stock", 1)]));
    assert_eq!(stats["paused"], json!([]));

    // A bound key sees its namespaces, and the workers that serve no other.
    let bound = stack.get_as("shop-key", "/v1/stats").await?.json()?;
    ensure!(bound["queues"].as_array().is_some_and(|queues| queues.len() == 1), "{bound}");
    assert_eq!((&bound["workers"]["running"], &bound["unserved"]), (&json!(1), &json!([missing("shop", 2)])));
    let workers = stack.get_as("shop-key", "/v1/workers").await?.json()?;
    ensure!(workers["workers"][0]["handlers"] == json!(["c.a"]) && workers["workers"][1]["handlers"].is_null());
    ensure!(stack.get_as("shop-key", "/v1/stats?namespace=stock").await?.status == 403);
    stack.stop().await
}

#[tokio::test]
async fn statistics_show_paused_namespaces_to_those_who_may_see_them() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    stack.store_template("stock").await?;
    for namespace in ["shop", "stock"] {
        stack.pause(namespace, true).await?;
    }
    assert_eq!(stack.get("/v1/stats").await?["paused"], json!(["shop", "stock"]));
    assert_eq!(stack.get_as("shop-key", "/v1/stats").await?.json()?["paused"], json!(["shop"]));
    stack.stop().await
}
