//! Schedules over HTTP: what is refused, who may use them, and that two servers create one task at its time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tasker_runtime::settings::{Access, ApiKey, Scope};

use crate::http::{Answer, database};
use crate::server::{Running, key};

const EVERY: [Scope; 3] = [Scope::Read, Scope::Submit, Scope::Operate];

fn schedule(namespace: &str, change: Value) -> Value {
    let mut schedule = json!({ "namespace": namespace, "template": "t", "cron": "* * * * *", "context": { "n": 1 } });
    if let (Value::Object(fields), Value::Object(change)) = (&mut schedule, change) {
        fields.extend(change);
    }
    schedule
}

async fn apply(server: &Running, namespace: &str) -> Result<()> {
    let template = json!({
        "name": "t", "namespace_name": namespace, "version": "1.0.0",
        "input_schema": { "type": "object", "required": ["n"] },
        "steps": [{ "name": "a", "handler": { "callable": "c" } }],
    });
    ensure!(server.call("every-key", "POST", "/v1/templates", &template).await?.status == 201);
    Ok(())
}

fn has(answer: &Answer, status: u16) -> Result<Value> {
    ensure!(answer.status == status, "expected {status}: {answer:?}");
    if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
}

#[tokio::test]
async fn a_schedule_is_stored_shown_triggered_and_deleted() -> Result<()> {
    let postgres = database().await?;
    let keys = vec![
        key("every", &EVERY),
        ApiKey { namespaces: Some(vec!["shop".to_owned()]), ..key("shop", &EVERY) },
        key("reader", &[Scope::Read]),
        key("submitter", &[Scope::Submit]),
    ];
    let server = Running::start(&postgres, Access { keys, ..Access::default() }).await?;
    for namespace in ["shop", "other"] {
        apply(&server, namespace).await?;
    }
    let put = async |who: &str, name: &str, body: Value| {
        server.call(who, "PUT", &format!("/v1/schedules/{name}"), &body).await
    };

    let yearly = schedule("shop", json!({ "cron": "0 0 1 1 *", "timezone": "Europe/Berlin" }));
    let stored = has(&put("shop-key", "nightly", yearly.clone()).await?, 201)?;
    assert_eq!((&stored["overlap"], &stored["catch_up_seconds"]), (&json!("skip"), &json!(3600)));
    let next: DateTime<Utc> = stored["next_at"].as_str().context("no time")?.parse()?;
    ensure!(next > Utc::now() && next < Utc::now() + TimeDelta::days(367), "{next}");
    has(&put("shop-key", "nightly", yearly).await?, 200)?;

    // Whoever covers another namespace sees nothing of it, and cannot take its name.
    has(&put("every-key", "theirs", schedule("other", json!({}))).await?, 201)?;
    for (method, path) in
        [("GET", "/v1/schedules/theirs"), ("DELETE", "/v1/schedules/theirs"), ("POST", "/v1/schedules/theirs/trigger")]
    {
        has(&server.call("shop-key", method, path, &Value::Null).await?, 404)?;
    }
    has(&put("shop-key", "theirs", schedule("shop", json!({}))).await?, 409)?;
    has(&put("shop-key", "mine", schedule("other", json!({}))).await?, 403)?;
    let list = has(&server.call("shop-key", "GET", "/v1/schedules", &Value::Null).await?, 200)?;
    assert_eq!(list["schedules"].as_array().map(Vec::len), Some(1));
    has(&server.call("shop-key", "GET", "/v1/schedules?namespace=other", &Value::Null).await?, 403)?;
    has(&put("reader-key", "nightly", schedule("shop", json!({}))).await?, 403)?;
    has(&server.call("submitter-key", "POST", "/v1/schedules/nightly/trigger", &Value::Null).await?, 403)?;

    for (change, status) in [
        (json!({ "cron": "nonsense" }), 422),
        (json!({ "cron": "0 0 30 2 *" }), 422),
        (json!({ "timezone": "Berlin" }), 422),
        (json!({ "context": {} }), 422),
        (json!({ "template": "none" }), 404),
        (json!({ "version": "9.9.9" }), 404),
        (json!({ "catch_up_seconds": 604801 }), 400),
        (json!({ "priority": 101 }), 400),
        (json!({ "overlap": "queue" }), 400),
        (json!({ "tags": [1] }), 400),
        (json!({ "unknown": 1 }), 400),
    ] {
        has(&put("every-key", "wrong", schedule("shop", change.clone())).await?, status).context(change.to_string())?;
    }
    has(&put("every-key", "a%20b", schedule("shop", json!({}))).await?, 400)?;

    let task = has(&server.call("shop-key", "POST", "/v1/schedules/nightly/trigger", &Value::Null).await?, 201)?;
    assert_eq!(task["namespace"], "shop");
    has(&server.call("shop-key", "DELETE", "/v1/schedules/nightly", &Value::Null).await?, 204)?;
    has(&server.call("shop-key", "GET", "/v1/schedules/nightly", &Value::Null).await?, 404)?;
    server.stop().await
}

#[tokio::test]
async fn two_servers_create_one_task_within_a_second_of_its_time() -> Result<()> {
    let postgres = database().await?;
    let access = || Access { keys: vec![key("every", &EVERY)], ..Access::default() };
    let servers = [Running::start(&postgres, access()).await?, Running::start(&postgres, access()).await?];
    apply(&servers[0], "shop").await?;
    has(
        &servers[0]
            .call("every-key", "PUT", "/v1/schedules/often", &schedule("shop", json!({ "cron": "0 0 1 1 *" })))
            .await?,
        201,
    )?;
    // The time comes in seconds instead of a year. It has no fraction, as every slot.
    let pool = PgPoolOptions::new().max_connections(1).connect(&postgres.url()).await?;
    let slot: DateTime<Utc> = sqlx::query_scalar(
        "update tasker.schedules set next_at = date_trunc('second', clock_timestamp()) + interval '2 seconds'
         returning next_at",
    )
    .fetch_one(&pool)
    .await?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let created = loop {
        let found: Vec<DateTime<Utc>> =
            sqlx::query_scalar("select created_at from tasker.tasks").fetch_all(&pool).await?;
        if !found.is_empty() {
            break found;
        }
        ensure!(Instant::now() < deadline, "no task was created");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // Both servers have looked at the schedule by now: the one that came second found that nothing is due.
    for server in servers {
        server.stop().await?;
    }
    ensure!(created[0] - slot < TimeDelta::seconds(1), "{} is late for {slot}", created[0]);
    let keys: Vec<String> = sqlx::query_scalar("select idempotency_key from tasker.tasks").fetch_all(&pool).await?;
    assert_eq!(keys, [format!("schedule:often:{}", slot.format("%Y-%m-%dT%H:%M:%SZ"))]);
    Ok(())
}
