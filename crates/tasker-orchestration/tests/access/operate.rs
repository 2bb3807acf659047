//! Pausing namespaces and forking tasks over HTTP: what is refused, and who may do it.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tasker_runtime::settings::{Access, ApiKey, Scope};

use crate::http::{Answer, database};
use crate::server::{Running, key};

const EVERY: [Scope; 3] = [Scope::Read, Scope::Submit, Scope::Operate];

fn has(answer: &Answer, status: u16) -> Result<Value> {
    ensure!(answer.status == status, "expected {status}: {answer:?}");
    answer.json()
}

#[tokio::test]
async fn namespaces_are_paused_and_tasks_forked_by_those_who_may() -> Result<()> {
    let postgres = database().await?;
    let keys = vec![
        key("every", &EVERY),
        ApiKey { namespaces: Some(vec!["shop".to_owned()]), ..key("shop", &EVERY) },
        key("reader", &[Scope::Read]),
    ];
    let server = Running::start(&postgres, Access { keys, ..Access::default() }).await?;
    let mut tasks = Vec::new();
    for namespace in ["shop", "other"] {
        let step = json!([{ "name": "a", "handler": { "callable": "c" } }]);
        let template = json!({ "name": "t", "namespace_name": namespace, "version": "1.0.0", "steps": step });
        has(&server.call("every-key", "POST", "/v1/templates", &template).await?, 201)?;
        let task = json!({ "namespace": namespace, "name": "t", "context": { "n": 1 } });
        let created = has(&server.call("every-key", "POST", "/v1/tasks", &task).await?, 201)?;
        tasks.push(created["task_uuid"].as_str().unwrap_or_default().to_owned());
    }

    let patch = async |who: &str, namespace: &str, change: Value| {
        server.call(who, "PATCH", &format!("/v1/namespaces/{namespace}"), &change).await
    };
    let paused = has(&patch("shop-key", "shop", json!({ "paused": true })).await?, 200)?;
    ensure!(paused["paused_at"].is_string() && paused["finished_tasks_days"].is_null(), "{paused}");
    let kept = has(&patch("shop-key", "shop", json!({ "finished_tasks_days": 3 })).await?, 200)?;
    assert_eq!((&kept["paused_at"], &kept["finished_tasks_days"]), (&paused["paused_at"], &json!(3)));
    let resumed = has(&patch("shop-key", "shop", json!({ "paused": false, "finished_tasks_days": null })).await?, 200)?;
    ensure!(resumed["paused_at"].is_null() && resumed["finished_tasks_days"].is_null(), "{resumed}");
    has(&patch("shop-key", "other", json!({ "paused": true })).await?, 403)?;
    has(&patch("reader-key", "shop", json!({ "paused": true })).await?, 403)?;
    has(&patch("every-key", "unknown", json!({ "paused": true })).await?, 404)?;
    has(&patch("every-key", "shop", json!({ "finished_tasks_days": 36501 })).await?, 400)?;
    has(&patch("every-key", "shop", json!({ "pause": true })).await?, 400)?;

    let fork = async |who: &str, task: &str, body: Value| {
        server.call(who, "POST", &format!("/v1/tasks/{task}/fork"), &body).await
    };
    let created = has(&fork("shop-key", &tasks[0], json!({ "step": "a", "reason": "again" })).await?, 201)?;
    let id = created["task_uuid"].as_str().unwrap_or_default();
    let forked = has(&server.call("shop-key", "GET", &format!("/v1/tasks/{id}"), &Value::Null).await?, 200)?;
    assert_eq!((&forked["forked_from"], &forked["context"]), (&json!(tasks[0]), &json!({ "n": 1 })));
    let path = format!("/v1/tasks/{id}/transitions");
    let history = has(&server.call("shop-key", "GET", &path, &Value::Null).await?, 200)?;
    assert_eq!(history["transitions"][0]["actor"], "key:shop");
    let origin = has(&server.call("shop-key", "GET", &format!("/v1/tasks/{}", tasks[0]), &Value::Null).await?, 200)?;
    assert_eq!(origin["forks"], json!([id]));
    has(&fork("shop-key", &tasks[0], json!({ "step": "x" })).await?, 404)?;
    has(&fork("shop-key", &tasks[0], json!({})).await?, 400)?;
    has(&fork("shop-key", &tasks[1], json!({ "step": "a" })).await?, 404)?;
    has(&fork("reader-key", &tasks[0], json!({ "step": "a" })).await?, 403)?;

    let open = async |who: &str, task: &str| {
        server.call(who, "POST", "/v1/dlq", &json!({ "task_uuid": task, "resolution_notes": "odd" })).await
    };
    let entry = has(&open("shop-key", &tasks[0]).await?, 201)?;
    assert_eq!((&entry["dlq_reason"], &entry["resolution_status"]), (&json!("manual_dlq"), &json!("pending")));
    has(&open("shop-key", &tasks[0]).await?, 200)?;
    has(&open("shop-key", &tasks[1]).await?, 404)?;
    has(&open("reader-key", &tasks[0]).await?, 403)?;
    let theirs = has(&open("every-key", &tasks[1]).await?, 201)?;
    let id_of = |entry: &Value| entry["dlq_entry_uuid"].as_str().unwrap_or_default().to_owned();
    let patch = async |who: &str, entry: &Value, change: Value| {
        server.call(who, "PATCH", &format!("/v1/dlq/{}", id_of(entry)), &change).await
    };
    let closed = json!({ "resolution_status": "manually_resolved", "metadata": { "ticket": 7 }, "resolved_by": "ada" });
    let closed = has(&patch("shop-key", &entry, closed).await?, 200)?;
    assert_eq!((&closed["resolved_by"], &closed["metadata"]), (&json!("key:shop (ada)"), &json!({ "ticket": 7 })));
    has(&patch("shop-key", &theirs, json!({})).await?, 404)?;
    has(&patch("shop-key", &entry, json!({ "resolution_status": "done" })).await?, 400)?;
    has(&patch("shop-key", &entry, json!({ "metadata": { "a": "x".repeat(70_000) } })).await?, 413)?;
    has(&open("shop-key", &tasks[0]).await?, 201)?;
    has(&patch("shop-key", &entry, json!({ "resolution_status": "pending" })).await?, 409)?;
    let list = async |who: &str, query: &str| {
        let answer = server.call(who, "GET", &format!("/v1/dlq{query}"), &Value::Null).await?;
        Ok::<_, anyhow::Error>(has(&answer, 200)?["entries"].as_array().map_or(0, Vec::len))
    };
    assert_eq!((list("shop-key", "").await?, list("every-key", "").await?), (2, 3));
    assert_eq!(list("shop-key", "?resolution_status=manually_resolved").await?, 1);
    assert_eq!(list("every-key", &format!("?task_uuid={}&limit=1", tasks[0])).await?, 1);
    has(&server.call("shop-key", "GET", "/v1/dlq?namespace=other", &Value::Null).await?, 403)?;
    has(&server.call("shop-key", "GET", "/v1/dlq?resolution_status=odd", &Value::Null).await?, 400)?;
    server.stop().await
}
