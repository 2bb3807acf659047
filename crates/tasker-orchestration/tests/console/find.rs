//! Finding tasks.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::Stack;

fn ids(page: &Value) -> Result<Vec<String>> {
    let tasks = page["tasks"].as_array().context("no tasks")?;
    tasks.iter().map(|task| Ok(task["task_uuid"].as_str().context("no id")?.to_owned())).collect()
}

#[tokio::test]
async fn tasks_are_found_by_every_condition() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    stack.store_template("stock").await?;
    let vip =
        stack.create("shop", json!({ "tags": ["vip", "vip", "eu"], "context": { "order": { "id": 42 } } })).await?;
    let acme = stack.create("shop", json!({ "tags": { "customer": "acme" }, "idempotency_key": "k/1" })).await?;
    let other = stack.create("stock", json!({ "context": { "order": { "id": "o=7" } } })).await?;
    for (query, expected) in [
        ("", vec![&other, &acme, &vip]),
        ("namespace=shop", vec![&acme, &vip]),
        ("tag=vip", vec![&vip]),
        ("tag=eu&status=pending", vec![&vip]),
        ("tag=eu&status=failed,completed", vec![]),
        ("tag=customer=acme", vec![&acme]),
        ("tag=acme", vec![]),
        ("tag=/order/id=42", vec![&vip]),
        ("tag=/order/id=o=7", vec![&other]),
        ("tag=/order/id=o=7&namespace=shop", vec![]),
        ("idempotency_key=k/1", vec![&acme]),
        ("idempotency_key=k/2", vec![]),
        ("q=42", vec![&vip]),
        ("q=acme", vec![&acme]),
        ("q=k/1", vec![&acme]),
        (&format!("q={other}"), vec![&other]),
        // The start of an id, with and without hyphens.
        (&format!("q={}", &other[..35]), vec![&other]),
        (&format!("q={}", other[..30].replace('-', "").to_uppercase()), vec![&other]),
        (&format!("q={}&namespace=shop", &other[..35]), vec![]),
        (&format!("q={}", &other[..7]), vec![]),
        ("q=00000000", vec![]),
        ("q=ffffffff-ffff", vec![]),
        ("q=nothing", vec![]),
        ("template=t", vec![&other, &acme, &vip]),
        ("template=t&version=1.0.0&namespace=stock", vec![&other]),
        ("template=t&version=2.0.0", vec![]),
        ("template=u", vec![]),
        ("created_after=2000-01-01T00:00:00Z", vec![&other, &acme, &vip]),
        ("created_before=2000-01-01T00:00:00Z", vec![]),
        ("created_after=2100-01-01T00:00:00Z", vec![]),
    ] {
        let page = stack.get(&format!("/v1/tasks?{query}")).await?;
        ensure!(ids(&page)?.iter().collect::<Vec<_>>() == expected, "{query}: {page}");
        ensure!(page["next_cursor"].is_null(), "{query}: {page}");
    }
    let page = stack.get("/v1/tasks?q=42").await?;
    assert_eq!(page["tasks"][0]["searchable"], json!({ "/order/id": "42" }));

    // A key that is bound to a namespace finds nothing of another one.
    for text in ["o=7", &other[..35]] {
        let bound = stack.get_as("shop-key", &format!("/v1/tasks?q={text}")).await?.json()?;
        assert_eq!(ids(&bound)?, Vec::<String>::new(), "{text}");
    }
    for (query, word) in [
        ("status=failed,x", "not a state"),
        ("version=1.0.0", "template"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
    ] {
        let answer = stack.get_as("every-key", &format!("/v1/tasks?{query}")).await?;
        ensure!(answer.status == 400 && answer.body.contains(word), "{query}: {answer:?}");
    }
    stack.stop().await
}

#[tokio::test]
async fn pages_hold_every_task_once() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let mut created = Vec::new();
    for number in 0..7 {
        created.push(stack.create("shop", json!({ "tags": [if number % 2 == 0 { "even" } else { "odd" }] })).await?);
    }
    created.reverse();
    for (query, expected) in [
        ("", created.clone()),
        ("template=t&", created.clone()),
        ("tag=even&", created.iter().step_by(2).cloned().collect()),
    ] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        for _ in 0..10 {
            let page = stack.get(&format!("/v1/tasks?{query}limit=2{cursor}")).await?;
            ensure!(ids(&page)?.len() <= 2, "{page}");
            found.extend(ids(&page)?);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{query}");
    }
    stack.stop().await
}

#[tokio::test]
async fn templates_and_workers_have_pages_too() -> Result<()> {
    let stack = Stack::start().await?;
    for version in ["1.0.0", "2.0.0", "10.0.0"] {
        stack
            .store(json!({ "name": "t", "namespace_name": "shop", "version": version,
                           "steps": [{ "name": "a", "handler": { "callable": "c.a" } }] }))
            .await?;
    }
    for worker in ["w1", "w2", "w3"] {
        stack.heartbeat(worker, &["shop"], &["c.a"]).await?;
    }
    for (path, list, field, expected) in [
        ("/v1/templates?name=t", "templates", "version", ["10.0.0", "2.0.0", "1.0.0"]),
        ("/v1/workers?namespace=shop", "workers", "worker_id", ["w1", "w2", "w3"]),
    ] {
        ensure!(stack.get(path).await?[list].as_array().is_some_and(|all| all.len() == 3));
        let first = stack.get(&format!("{path}&limit=2")).await?;
        let cursor = first["next_cursor"].as_str().context("no cursor")?;
        let last = stack.get(&format!("{path}&limit=2&cursor={cursor}")).await?;
        ensure!(last["next_cursor"].is_null(), "{last}");
        let entries = [&first, &last].into_iter().flat_map(|page| page[list].as_array().cloned().unwrap_or_default());
        assert_eq!(entries.map(|entry| entry[field].clone()).collect::<Vec<_>>(), expected);
    }
    stack.stop().await
}
