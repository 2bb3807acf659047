//! Keys and tokens that are bound to namespaces see and change nothing else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tasker_api::WorkerState;
use tasker_engine::{Engine, WorkerHeartbeat};
use tasker_runtime::settings::{Access, ApiKey, Scope};
use uuid::Uuid;

use crate::http::{Answer, database};
use crate::server::{Running, key};
use crate::signer::Signer;

const NAMESPACES: [&str; 3] = ["shop", "stock", "other"];
const EVERY: [Scope; 3] = [Scope::Read, Scope::Submit, Scope::Operate];

fn bound(name: &str, namespaces: &[&str]) -> ApiKey {
    ApiKey { namespaces: Some(namespaces.iter().map(|name| (*name).to_owned()).collect()), ..key(name, &EVERY) }
}

fn template(namespace: &str, version: &str) -> Value {
    json!({ "name": "t", "namespace_name": namespace, "version": version,
            "steps": [{ "name": "a", "handler": { "callable": "c" } }] })
}

fn task(namespace: &str) -> Value {
    json!({ "namespace": namespace, "name": "t", "context": {} })
}

/// The namespaces of the entries of a list.
fn namespaces(answer: &Answer, list: &str) -> Result<BTreeSet<String>> {
    ensure!(answer.status == 200, "{answer:?}");
    let body = answer.json()?;
    let entries = body[list].as_array().with_context(|| format!("no {list} in {body}"))?;
    let names = entries.iter().map(|entry| Some(entry["namespace"].as_str()?.to_owned()));
    names.collect::<Option<_>>().with_context(|| format!("no namespace in {body}"))
}

fn refused(answer: &Answer, status: u16, kind: &str) -> Result<()> {
    ensure!(answer.status == status && answer.json()?["type"] == format!("/problems/{kind}"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_key_sees_and_changes_only_its_namespaces() -> Result<()> {
    let postgres = database().await?;
    let signer = Signer::new()?;
    let access = Access {
        keys: vec![key("every", &EVERY), bound("shop", &["shop"]), bound("both", &["shop", "stock", "shop", "none"])],
        jwt_public_key: signer.public_pem(),
        ..Access::default()
    };
    let server = Running::start(&postgres, access).await?;
    let get = async |credential: &str, path: &str| server.call(credential, "GET", path, &Value::Null).await;
    let post = async |credential: &str, path: &str, body: Value| server.call(credential, "POST", path, &body).await;

    let mut tasks = Vec::new();
    for namespace in NAMESPACES {
        ensure!(post("every-key", "/v1/templates", template(namespace, "1.0.0")).await?.status == 201);
        let created = post("every-key", "/v1/tasks", task(namespace)).await?.json()?;
        tasks.push(created["task_uuid"].as_str().context("no task")?.to_owned());
    }
    let pool = PgPoolOptions::new().max_connections(1).connect(&postgres.url()).await?;
    let engine = Engine::new(pool);
    for (worker_id, served) in [("mixed", &["shop", "stock"][..]), ("foreign", &["other"])] {
        let served: Vec<_> = served.iter().map(|name| (*name).to_owned()).collect();
        let heartbeat = WorkerHeartbeat {
            worker_id,
            namespaces: &served,
            status: WorkerState::Running,
            max_concurrent: 1,
            host: "host",
            started_at: Utc::now(),
            handlers: &[],
            running_steps: 0,
            completed_steps: 0,
            failed_steps: 0,
        };
        engine.heartbeat(&heartbeat).await?;
    }

    // 1. Lists.
    let reader = json!({ "exp": 4_000_000_000u32, "scope": "read" });
    let token = |namespaces: Value| {
        let mut claims = reader.clone();
        claims["namespaces"] = namespaces;
        signer.token(&claims)
    };
    let callers = [
        ("every-key".to_owned(), &NAMESPACES[..]),
        ("shop-key".to_owned(), &["shop"]),
        ("both-key".to_owned(), &["shop", "stock"]),
        (token(json!(["shop"])), &["shop"]),
        (token(json!([])), &[]),
        (signer.token(&reader), &NAMESPACES),
    ];
    for (credential, expected) in &callers {
        let expected: BTreeSet<_> = expected.iter().map(|name| (*name).to_owned()).collect();
        for list in ["tasks", "templates", "namespaces"] {
            let seen = namespaces(&get(credential, &format!("/v1/{list}")).await?, list)?;
            ensure!(seen == expected, "{list}: {seen:?} instead of {expected:?}");
        }
        for list in ["tasks", "templates", "workers"] {
            for namespace in NAMESPACES {
                let answer = get(credential, &format!("/v1/{list}?namespace={namespace}")).await?;
                if expected.contains(namespace) {
                    ensure!(answer.status == 200, "{answer:?}");
                } else {
                    refused(&answer, 403, "namespace-denied")?;
                }
            }
        }
        let metrics = get(credential, "/metrics").await?;
        if expected.len() == NAMESPACES.len() {
            ensure!(metrics.status == 200, "{metrics:?}");
        } else {
            refused(&metrics, 403, "namespace-denied")?;
        }
    }
    let workers = get("shop-key", "/v1/workers").await?.json()?["workers"].clone();
    ensure!(workers.as_array().is_some_and(|workers| workers.len() == 1), "{workers}");
    ensure!(workers[0]["worker_id"] == "mixed" && workers[0]["namespaces"] == json!(["shop"]), "{workers}");

    // 2. Pages hold the newest tasks of all namespaces together.
    let mut pages = Vec::new();
    let mut path = "/v1/tasks?limit=1".to_owned();
    loop {
        let page = get("both-key", &path).await?.json()?;
        pages.push(page["tasks"][0]["task_uuid"].as_str().context("an empty page")?.to_owned());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/tasks?limit=1&cursor={cursor}");
    }
    ensure!(pages == [&tasks[1][..], &tasks[0]], "{pages:?}");

    // 3. A task of another namespace looks like one that does not exist.
    let (own, foreign, unknown) = (&tasks[0], &tasks[1], Uuid::now_v7().to_string());
    let result = json!({ "result": 1 });
    let routes = [
        ("GET", "", Value::Null),
        ("GET", "?wait=30s", Value::Null),
        ("GET", "/steps", Value::Null),
        ("GET", "/transitions", Value::Null),
        ("POST", "/cancel", Value::Null),
        ("POST", "/fail", Value::Null),
        ("POST", "/retry", Value::Null),
        ("POST", "/steps/a/retry", Value::Null),
        ("POST", "/steps/a/resolve", result),
    ];
    for (method, route, body) in &routes {
        let begun = Instant::now();
        let call = async |id: &str| server.call("shop-key", method, &format!("/v1/tasks/{id}{route}"), body).await;
        let (found, missing) = (call(foreign).await?, call(&unknown).await?);
        refused(&found, 404, "task-not-found")?;
        ensure!(found.body.replace(foreign, "ID") == missing.body.replace(&unknown, "ID"), "{found:?}, {missing:?}");
        ensure!(begun.elapsed() < Duration::from_secs(20), "{route} waited");
    }
    let untouched = get("every-key", &format!("/v1/tasks/{foreign}/transitions")).await?.json()?;
    ensure!(untouched["transitions"].as_array().is_some_and(|all| all.iter().all(|one| one["actor"].is_null())));
    for route in ["", "/steps", "/transitions"] {
        ensure!(get("shop-key", &format!("/v1/tasks/{own}{route}")).await?.status == 200);
    }
    ensure!(post("shop-key", &format!("/v1/tasks/{own}/cancel"), Value::Null).await?.status == 200);

    // 4. Requests that name a namespace.
    ensure!(post("shop-key", "/v1/tasks", task("shop")).await?.status == 201);
    ensure!(post("shop-key", "/v1/templates", template("shop", "2.0.0")).await?.status == 201);
    ensure!(get("shop-key", "/v1/templates/shop/t").await?.status == 200);
    refused(&get("shop-key", "/v1/templates/shop/none").await?, 404, "template-not-found")?;
    for namespace in ["stock", "no_such_namespace"] {
        let path = format!("/v1/templates/{namespace}/t");
        refused(&post("shop-key", "/v1/tasks", task(namespace)).await?, 403, "namespace-denied")?;
        refused(&post("shop-key", "/v1/templates", template(namespace, "2.0.0")).await?, 403, "namespace-denied")?;
        refused(&get("shop-key", &path).await?, 403, "namespace-denied")?;
        refused(&get("shop-key", &format!("/v1/gates/{namespace}/g")).await?, 403, "namespace-denied")?;
        refused(&get("shop-key", &format!("/v1/namespaces/{namespace}/events")).await?, 403, "namespace-denied")?;
        let closed = json!({ "limit": 0 });
        let answer = server.call("shop-key", "PATCH", &format!("/v1/gates/{namespace}/g"), &closed).await?;
        refused(&answer, 403, "namespace-denied")?;
    }
    refused(&get("shop-key", "/v1/gates/shop/none").await?, 404, "gate-not-found")?;
    ensure!(get("shop-key", "/v1/namespaces/shop/events").await?.json()?["events"] == json!([]));
    refused(&get("every-key", "/v1/namespaces/none/events").await?, 404, "namespace-not-found")?;
    let templates = get("every-key", "/v1/templates?namespace=stock").await?.json()?;
    ensure!(templates["templates"].as_array().is_some_and(|templates| templates.len() == 1), "{templates}");

    // 5. Each namespace has its own idempotency keys, so a key of another one is free.
    let keyed = |namespace: &str, context: Value| {
        let mut request = task(namespace);
        request["context"] = context;
        request["idempotency_key"] = json!("key");
        request
    };
    ensure!(post("every-key", "/v1/tasks", keyed("stock", json!({}))).await?.status == 201);
    let created = post("shop-key", "/v1/tasks", keyed("shop", json!({}))).await?;
    ensure!(created.status == 201, "{created:?}");
    let answer = post("shop-key", "/v1/tasks", keyed("shop", json!({ "another": "context" }))).await?;
    refused(&answer, 409, "idempotency-key-taken")?;
    ensure!(answer.body.contains(created.json()?["task_uuid"].as_str().context("no task")?), "{answer:?}");
    server.stop().await
}
