//! Actions on all tasks that match.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::server::Running;
use crate::support::{EVERY, Stack};

/// Waits until a job has ended.
async fn ended(stack: &Stack, id: &str) -> Result<Value> {
    for _ in 0..200 {
        let job = stack.get(&format!("/v1/bulk/{id}")).await?;
        if job["status"] != "running" {
            return Ok(job);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("the job does not end")
}

async fn statuses(stack: &Stack, namespace: &str) -> Result<Vec<Value>> {
    let page = stack.get(&format!("/v1/tasks?namespace={namespace}&limit=500")).await?;
    Ok(page["tasks"].as_array().context("no tasks")?.iter().map(|task| task["status"].clone()).collect())
}

#[tokio::test]
async fn a_job_changes_every_task_that_matches_and_no_other() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    stack.store_template("stock").await?;
    for _ in 0..30 {
        stack.create("shop", json!({ "tags": ["bank"] })).await?;
    }
    stack.create("stock", json!({ "tags": ["bank"] })).await?;
    stack.block("shop").await?;
    let filter = json!({ "status": "blocked_by_failures", "tag": "bank" });

    let dry = stack.post("/v1/bulk", json!({ "action": "retry", "filter": filter, "dry_run": true })).await?;
    ensure!(dry.status == 200, "{dry:?}");
    let preview = dry.json()?;
    ensure!(preview["matched"] == 30 && preview["complete"] == true, "{preview}");
    ensure!(preview["examples"].as_array().is_some_and(|tasks| tasks.len() == 5));
    ensure!(statuses(&stack, "shop").await?.iter().all(|status| status == "blocked_by_failures"));

    let answer = stack.post("/v1/bulk", json!({ "action": "retry", "filter": filter, "reason": "it is back" })).await?;
    ensure!(answer.status == 202 && answer.head.contains("location: /v1/bulk/"), "{answer:?}");
    let id = answer.json()?["id"].as_str().context("no id")?.to_owned();
    let job = ended(&stack, &id).await?;
    ensure!(job["status"] == "completed" && job["done"] == 30 && job["skipped"] == 0, "{job}");
    assert_eq!((&job["actor"], &job["filter"]), (&json!("key:every"), &filter));
    ensure!(statuses(&stack, "shop").await?.iter().all(|status| status == "in_progress"));
    ensure!(statuses(&stack, "stock").await? == ["pending"]);

    // The history of each task says who and why.
    let task = stack.get("/v1/tasks?namespace=shop&limit=1").await?["tasks"][0]["task_uuid"].clone();
    let history = stack.get(&format!("/v1/tasks/{}/transitions", task.as_str().context("no id")?)).await?;
    let last = history["transitions"].as_array().and_then(|all| all.last().cloned()).context("no history")?;
    assert_eq!((&last["actor"], &last["reason"]), (&json!("key:every"), &json!("it is back")));

    let stop = stack.post(&format!("/v1/bulk/{id}/stop"), json!({})).await?;
    ensure!(stop.status == 409, "{stop:?}");
    let empty = stack.post("/v1/bulk", json!({ "action": "cancel", "filter": {} })).await?;
    ensure!(empty.status == 400 && empty.body.contains("at least one condition"), "{empty:?}");
    // A key of one namespace neither sees the job nor reaches other namespaces.
    ensure!(stack.get_as("shop-key", &format!("/v1/bulk/{id}")).await?.status == 404);
    let body = json!({ "action": "cancel", "filter": { "tag": "bank" } });
    let own = stack.server.call("shop-key", "POST", "/v1/bulk", &body).await?;
    let own = ended(&stack, own.json()?["id"].as_str().context("no id")?).await?;
    ensure!(own["done"] == 30, "{own}");
    ensure!(statuses(&stack, "stock").await? == ["pending"]);
    stack.stop().await
}

#[tokio::test]
async fn another_server_continues_the_job_of_one_that_died() -> Result<()> {
    let mut stack = Stack::start().await?;
    stack.store_template("shop").await?;
    for _ in 0..3 {
        stack.create("shop", json!({})).await?;
    }
    // The first server dies after it has stored the job, and before it works on it: the job is stored here.
    let access = tasker_runtime::settings::Access {
        keys: vec![crate::server::key("every", &EVERY)],
        ..tasker_runtime::settings::Access::default()
    };
    let job = tasker_engine::NewBulkJob {
        id: uuid::Uuid::now_v7(),
        action: tasker_api::BulkAction::Cancel,
        filter: &tasker_api::TaskConditions { namespace: Some("shop".to_owned()), ..Default::default() },
        namespaces: Some(&["shop".to_owned()]),
        actor: Some("me"),
        reason: None,
    };
    let second = Running::start(&stack.postgres, access).await?;
    std::mem::replace(&mut stack.server, second).stop().await?;
    stack.engine.create_bulk_job(&job).await?;
    let late = stack.create("shop", json!({})).await?;
    let found = ended(&stack, &job.id.to_string()).await?;
    ensure!(found["status"] == "completed" && found["done"] == 3, "{found}");
    // A task that is younger than the job is not changed.
    ensure!(stack.get(&format!("/v1/tasks/{late}")).await?["status"] == "pending");
    stack.stop().await
}
