//! One task: attempts, history, reasons to wait, reruns.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tasker_engine::StepOutcome;

use crate::support::Stack;

/// The reasons why a step waits.
async fn reasons(stack: &Stack, task: &str, step: &str) -> Result<Vec<String>> {
    let found = stack.get(&format!("/v1/tasks/{task}/steps/{step}")).await?;
    let waiting = found["waiting"].as_array().context("no reasons")?;
    waiting.iter().map(|reason| Ok(reason["reason"].as_str().context("no reason")?.to_owned())).collect()
}

#[tokio::test]
async fn a_step_says_why_it_waits() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let task = stack.create("shop", json!({})).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["no_worker"]);
    assert_eq!(reasons(&stack, &task, "b").await?, ["dependencies"]);
    stack.heartbeat("w1", &["shop"], &["c.b"]).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["no_handler"]);
    stack.heartbeat("w1", &["shop"], &["c.a", "c.b"]).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["queue"]);
    let second = stack.create("shop", json!({})).await?;
    let found = stack.get(&format!("/v1/tasks/{second}/steps/a")).await?;
    assert_eq!(found["waiting"][0]["count"], 1, "{found}");

    let steps = stack.claim("shop").await?;
    ensure!(steps.len() == 2);
    assert_eq!(reasons(&stack, &task, "a").await?, ["running"]);
    let error = json!({ "kind": "flaky", "message": "try again" });
    stack.record("shop", &steps, StepOutcome::RetryableError(error)).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["backoff"]);
    stack.block("shop").await?;
    assert_eq!(reasons(&stack, &task, "a").await?, Vec::<String>::new());
    assert_eq!(reasons(&stack, &task, "b").await?, ["needs_operator"]);

    let unknown = stack.get_as("every-key", &format!("/v1/tasks/{task}/steps/none")).await?;
    ensure!(unknown.status == 404 && unknown.body.contains("step-not-found"), "{unknown:?}");
    stack.stop().await
}

#[tokio::test]
async fn a_step_that_runs_a_task_waits_for_no_handler() -> Result<()> {
    let stack = Stack::start().await?;
    let run = json!({ "name": "a", "task": { "template": "t" }, "concurrency": { "gate": "g", "limit": 1 } });
    stack.store(json!({ "name": "t", "namespace_name": "shop", "version": "1.0.0", "steps": [run] })).await?;
    let task = stack.create("shop", json!({})).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["no_worker"]);
    stack.heartbeat("w1", &["shop"], &["c.other"]).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["queue"]);
    let found = stack.get("/v1/templates/shop/t/layout").await?;
    let node = &found["nodes"][0];
    assert_eq!((&node["callable"], &node["task"]), (&json!(""), &json!("t")), "{found}");
    stack.stop().await
}

#[tokio::test]
async fn a_step_says_for_which_signal_time_or_task_it_waits() -> Result<()> {
    let stack = Stack::start().await?;
    let store = |name: &'static str, fields: Value| {
        let mut step = json!({ "name": "a", "handler": { "callable": "c.a" } });
        if let (Some(step), Some(fields)) = (step.as_object_mut(), fields.as_object()) {
            step.extend(fields.clone());
        }
        stack.store(json!({ "name": name, "namespace_name": "shop", "version": "1.0.0", "steps": [step] }))
    };
    store("t", json!({ "task": { "template": "sleeps" } })).await?;
    store("sleeps", json!({ "wait": { "delay_seconds": 60 } })).await?;
    store("asks", json!({ "wait": { "signal": "go" } })).await?;
    let message = async |task: &str| -> Result<String> {
        let found = stack.get(&format!("/v1/tasks/{task}/steps/a")).await?;
        Ok(found["waiting"][0]["message"].as_str().context("no message")?.to_owned())
    };
    let parent = message(&stack.create("shop", json!({})).await?).await?;
    let child = parent.strip_prefix("It waits for the end of the child task ").context(parent.clone())?;
    let child = child.strip_suffix(", which is pending.").context(parent.clone())?;
    assert_eq!(message(child).await?, "It waits for a time.");
    let asks = stack.create("shop", json!({ "name": "asks" })).await?;
    assert_eq!(message(&asks).await?, "It waits for the signal go.");
    stack.stop().await
}

#[tokio::test]
async fn a_task_shows_its_attempts_and_its_history_in_pages() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let task = stack.create("shop", json!({})).await?;
    let error = json!({ "kind": "flaky", "message": "try again" });
    stack.record("shop", &stack.claim("shop").await?, StepOutcome::RetryableError(error)).await?;
    stack.block("shop").await?;

    let path = format!("/v1/tasks/{task}/attempts");
    let all = stack.get(&path).await?;
    let brief = |page: &Value| -> Vec<Value> {
        let attempts = page["attempts"].as_array().cloned().unwrap_or_default();
        attempts.iter().map(|a| json!([a["step"], a["attempt"], a["worker_id"], a["outcome"], a["message"]])).collect()
    };
    let expected = vec![
        json!(["a", 1, "w1", "waiting_for_retry", "try again"]),
        json!(["a", 2, "w1", "completed", null]),
        json!(["b", 1, "w1", "failed", "the bank said no"]),
    ];
    assert_eq!(brief(&all), expected);
    assert_eq!(brief(&stack.get(&format!("{path}?step=b")).await?), expected[2..]);
    let first = stack.get(&format!("{path}?limit=2")).await?;
    let cursor = first["next_cursor"].as_str().context("no cursor")?;
    let last = stack.get(&format!("{path}?limit=2&cursor={cursor}")).await?;
    assert_eq!([brief(&first), brief(&last)].concat(), expected);

    let path = format!("/v1/tasks/{task}/transitions");
    let all = stack.get(&path).await?["transitions"].as_array().cloned().context("no transitions")?;
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = stack.get(&format!("{path}?limit=4{cursor}")).await?;
        paged.extend(page["transitions"].as_array().cloned().context("no transitions")?);
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);

    // Results are left out on demand, and other namespaces always.
    let with = stack.get(&format!("/v1/tasks/{task}")).await?;
    let without = stack.get(&format!("/v1/tasks/{task}?results=false")).await?;
    ensure!(with["steps"][0]["result"] == json!({ "big": "result" }) && without["steps"][0]["result"].is_null());
    ensure!(with["steps"][0]["callable"] == "c.a");
    stack.store_template("stock").await?;
    let foreign = stack.create("stock", json!({})).await?;
    for path in ["attempts", "transitions", "steps/a", "steps"] {
        let answer = stack.get_as("shop-key", &format!("/v1/tasks/{foreign}/{path}")).await?;
        ensure!(answer.status == 404, "{path}: {answer:?}");
    }
    stack.stop().await
}

#[tokio::test]
async fn a_rerun_is_a_new_task_from_the_same_input() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let input = json!({ "order": { "id": 42 } });
    let task = stack.create("shop", json!({ "context": input, "tags": ["vip"], "priority": 7 })).await?;
    let rerun = async |body: Value| stack.post(&format!("/v1/tasks/{task}/rerun"), body).await;

    let answer = rerun(json!({ "reason": "again", "idempotency_key": "r1" })).await?;
    ensure!(answer.status == 201, "{answer:?}");
    let id = answer.json()?["task_uuid"].as_str().context("no id")?.to_owned();
    let new = stack.get(&format!("/v1/tasks/{id}")).await?;
    ensure!(new["rerun_of"] == task && new["context"] == input && new["priority"] == 7, "{new}");
    ensure!(new["tags"] == json!(["vip"]) && new["status"] == "pending", "{new}");
    ensure!(rerun(json!({ "reason": "again", "idempotency_key": "r1" })).await?.status == 200);

    let edited = rerun(json!({ "context": { "order": { "id": 43 } } })).await?.json()?;
    assert_eq!(edited["searchable"], json!({ "/order/id": "43" }));
    let found = stack.get("/v1/tasks?tag=/order/id=42").await?;
    ensure!(found["tasks"].as_array().is_some_and(|tasks| tasks.len() == 2), "{found}");
    ensure!(rerun(json!({ "version": "9.0.0" })).await?.status == 404);
    stack.stop().await
}
