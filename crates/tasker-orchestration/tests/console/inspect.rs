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

/// The first reason why a step waits.
async fn first(stack: &Stack, task: &str, step: &str) -> Result<Value> {
    Ok(stack.get(&format!("/v1/tasks/{task}/steps/{step}")).await?["waiting"][0].take())
}

#[tokio::test]
async fn a_step_of_a_paused_namespace_says_so() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let task = stack.create("shop", json!({})).await?;
    stack.heartbeat("w1", &["shop"], &["c.a", "c.b"]).await?;
    stack.pause("shop", true).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["paused"]);
    assert_eq!(reasons(&stack, &task, "b").await?, ["dependencies"]);
    let why = first(&stack, &task, "a").await?;
    let message = why["message"].as_str().context("no message")?;
    ensure!(message.starts_with("Namespace shop is paused since 20") && message.contains("namespace resume"), "{why}");
    stack.pause("shop", false).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["queue"]);
    stack.stop().await
}

#[tokio::test]
async fn a_step_whose_message_was_deleted_says_so() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let (lost, kept) = (stack.create("shop", json!({})).await?, stack.create("shop", json!({})).await?);
    stack.heartbeat("w1", &["shop"], &["c.a", "c.b"]).await?;
    sqlx::query("delete from pgmq.q_shop where message ->> 'task_id' = $1")
        .bind(&lost)
        .execute(stack.engine.pool())
        .await?;
    assert_eq!(reasons(&stack, &lost, "a").await?, ["message_lost"]);
    assert_eq!(reasons(&stack, &kept, "a").await?, ["queue"]);
    stack.stop().await
}

#[tokio::test]
async fn a_step_that_no_worker_takes_says_so() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let task = stack.create("shop", json!({})).await?;
    stack.heartbeat("w1", &["shop"], &["c.a", "c.b"]).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["queue"]);
    sqlx::query("update pgmq.q_shop set vt = vt - interval '90 s', enqueued_at = enqueued_at - interval '90 s'")
        .execute(stack.engine.pool())
        .await?;
    let why = first(&stack, &task, "a").await?;
    assert_eq!((&why["reason"], &why["workers"]), (&json!("stalled"), &json!(["w1"])), "{why}");
    stack.stop().await
}

#[tokio::test]
async fn a_step_whose_time_has_come_says_what_keeps_workers_from_it() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let run = async |statement: &'static str| sqlx::query(statement).execute(stack.engine.pool()).await;
    let task = stack.create("shop", json!({})).await?;
    let steps = stack.claim("shop").await?;
    stack.heartbeat("w1", &["shop"], &["c.a"]).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["running"]);

    // The worker hangs. First its heartbeats end, then its lease.
    let hang = "update tasker.workers set last_heartbeat_at = now() - interval '1 h' where worker_id = 'w1'";
    run(hang).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["worker_lost", "no_worker"]);
    stack.heartbeat("w2", &["shop"], &["c.a"]).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["worker_lost"]);
    let why = first(&stack, &task, "a").await?;
    ensure!(why["message"].as_str().is_some_and(|message| message.contains("when its lease ends")), "{why}");
    run("update tasker.steps set due_at = now() - interval '90 s' where state = 'in_progress'").await?;
    run("update pgmq.q_shop set vt = now() - interval '90 s', enqueued_at = now() - interval '1 h'").await?;
    let why = first(&stack, &task, "a").await?;
    ensure!(why["message"].as_str().is_some_and(|message| message.contains("lease has ended")), "{why}");
    assert_eq!(reasons(&stack, &task, "a").await?, ["worker_lost", "stalled"]);
    stack.pause("shop", true).await?;
    assert_eq!(reasons(&stack, &task, "a").await?[..2], ["paused", "worker_lost"]);
    stack.pause("shop", false).await?;

    // The delay after a failed attempt.
    let error = json!({ "kind": "flaky", "message": "try again" });
    stack.record("shop", &steps, StepOutcome::RetryableError(error)).await?;
    run("update tasker.steps set due_at = now() - interval '90 s' where state = 'waiting_for_retry'").await?;
    run("update pgmq.q_shop set vt = now() - interval '90 s'").await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["backoff", "stalled"]);
    run("delete from tasker.workers").await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["backoff", "no_worker"]);
    run("delete from pgmq.q_shop").await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["message_lost"]);

    // A worker ends a wait for a time.
    let wait = json!({ "name": "a", "handler": { "callable": "c.a" }, "wait": { "delay_seconds": 60 } });
    stack.store(json!({ "name": "t", "namespace_name": "stock", "version": "1.0.0", "steps": [wait] })).await?;
    let task = stack.create("stock", json!({})).await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["waiting"]);
    ensure!(first(&stack, &task, "a").await?["until"].is_string());
    run("update tasker.steps set due_at = now() - interval '90 s' where state = 'waiting'").await?;
    assert_eq!(reasons(&stack, &task, "a").await?, ["waiting", "no_worker"]);
    ensure!(first(&stack, &task, "a").await?["until"].is_null());
    stack.stop().await
}

#[tokio::test]
async fn a_step_names_the_task_far_below_that_needs_an_operator() -> Result<()> {
    let stack = Stack::start().await?;
    let store = |name: &'static str, step: Value| {
        stack.store(json!({ "name": name, "namespace_name": "shop", "version": "1.0.0", "steps": [step] }))
    };
    store("t", json!({ "name": "a", "task": { "template": "middle" } })).await?;
    store("middle", json!({ "name": "a", "task": { "template": "leaf" } })).await?;
    let one = json!({ "name": "a", "handler": { "callable": "c.a" }, "retry": { "limit": 1 } });
    store("leaf", one).await?;
    let top = stack.create("shop", json!({})).await?;
    let child = |why: &Value| why["task"].as_str().map(str::to_owned).context(why.to_string());
    let middle = child(&first(&stack, &top, "a").await?)?;
    let leaf = child(&first(&stack, &middle, "a").await?)?;

    let error = json!({ "kind": "card_declined", "message": "the bank said no" });
    stack.record("shop", &stack.claim("shop").await?, StepOutcome::PermanentError(error)).await?;
    for (task, sentence) in [(&top, format!("That waits for task {leaf}")), (&middle, "An operator must".to_owned())] {
        let why = first(&stack, task, "a").await?;
        assert_eq!(why["task"], json!(leaf), "{why}");
        ensure!(why["message"].as_str().is_some_and(|message| message.contains(&sentence)), "{why}");
    }
    stack.stop().await
}

#[tokio::test]
async fn a_group_and_its_children_say_for_what_they_wait() -> Result<()> {
    let stack = Stack::start().await?;
    let map = |strategy: &str| {
        json!({
            "name": if strategy == "isolate" { "t" } else { "fast" }, "namespace_name": "shop", "version": "1.0.0",
            "steps": [
                { "name": "list", "handler": { "callable": "c.a" } },
                { "name": "each", "dependencies": ["list"], "handler": { "callable": "c.b" }, "retry": { "limit": 1 },
                  "map": { "step": "list", "pointer": "", "parallelism": 1, "failure_strategy": strategy } },
            ],
        })
    };
    stack.store(map("isolate")).await?;
    stack.store(map("fail_fast")).await?;
    let slow = stack.create("shop", json!({})).await?;
    let list = StepOutcome::Completed(json!([1, 2, 3]));
    let failure = || StepOutcome::PermanentError(json!({ "kind": "card_declined", "message": "the bank said no" }));
    let message = async |task: &str, step: &str| -> Result<String> {
        let why = first(&stack, task, step).await?;
        ensure!(why["reason"] == "children", "{why}");
        Ok(why["message"].as_str().context("no message")?.to_owned())
    };
    stack.record("shop", &stack.claim("shop").await?, list.clone()).await?;
    assert_eq!(message(&slow, "each").await?, "It waits for 3 children to end.");
    let one = "It waits for another child of each to end. At most 1 of them run at once.";
    assert_eq!(message(&slow, "each_2").await?, one);
    stack.record("shop", &stack.claim("shop").await?, failure()).await?;
    assert_eq!(
        message(&slow, "each").await?,
        "It waits for an operator to retry or resolve its failed children (each_0), and 2 children to end."
    );

    stack.claim("shop").await?;
    let fast = stack.create("shop", json!({ "name": "fast" })).await?;
    stack.record("shop", &stack.claim("shop").await?, list).await?;
    stack.record("shop", &stack.claim("shop").await?, failure()).await?;
    assert_eq!(
        message(&fast, "each_1").await?,
        "No child of each starts until an operator has retried or resolved those that failed (each_0)."
    );
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
