//! Servers delete finished tasks after the time that the settings allow.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use local_postgres::{LocalPostgres, Options};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use tasker_api::PatchNamespace;
use tasker_engine::{ApplyOutcome, Engine, NewTask, Operation, StepOutcome, StepResult};
use tasker_orchestration::Server;
use tasker_runtime::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const NAMESPACE: &str = "retention";
const LEASE: Duration = Duration::from_secs(30);

/// Reads from the metrics of a server how many tasks it has deleted.
async fn tasks_deleted_by(address: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let line = answer.lines().find_map(|line| line.strip_prefix("tasker_rows_deleted_total{table=\"tasks\"} "));
    line.map_or(Ok(0), |number| number.parse().context("not a number"))
}

#[tokio::test]
async fn servers_delete_tasks_that_are_older_than_the_settings_allow() -> Result<()> {
    let postgres = LocalPostgres::start(Options::default()).await?;
    // More tasks than two batches hold ended over two days ago, and one more ended after that.
    let options = || PgPoolOptions::new().max_connections(1);
    let pool = options().connect(&postgres.url()).await?;
    tasker_engine::migrate(&pool).await?;
    let engine = Engine::new(pool.clone());
    let steps = json!([{ "name": "a", "handler": { "callable": "noop" } }]);
    let source = json!({ "name": "t", "namespace_name": NAMESPACE, "version": "1.0.0", "steps": steps }).to_string();
    let parsed = tasker_template::parse(&source, None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    ensure!(engine.apply_template(&parsed.template, "test").await? == ApplyOutcome::Created);
    let stored = engine.find_template(NAMESPACE, "t", None).await?.context("not stored")?;
    for (age, count) in [("50 hours", 1_200_u64), ("40 hours", 1)] {
        sqlx::query("select set_config('tasker.now', (clock_timestamp() - $1::interval)::text, false)")
            .bind(age)
            .execute(&pool)
            .await?;
        let seconds: f64 =
            sqlx::query_scalar("select extract(epoch from tasker.now())::float8").fetch_one(&pool).await?;
        let begin = Duration::from_secs_f64(seconds);
        let tasks: Vec<_> = (0..count)
            .map(|_| NewTask {
                task_id: Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, begin.as_secs(), 0)),
                ..NewTask::new(stored.template_id, json!({}))
            })
            .collect();
        engine.create_tasks(&tasks).await?;
        let namespaces = [NAMESPACE.to_owned()];
        loop {
            let steps = engine.start_steps("w", &namespaces, 500, LEASE, &[]).await?;
            if steps.is_empty() {
                break;
            }
            let results: Vec<_> = steps
                .iter()
                .map(|step| StepResult { step: step.step_ref(), outcome: StepOutcome::Completed(json!({})) })
                .collect();
            engine.complete_steps("w", &namespaces, 0, LEASE, &results).await?;
        }
    }

    let mut settings = Settings::default();
    settings.database.url = postgres.url();
    settings.orchestration.port = 0;
    settings.retention.finished_tasks_days = 2;
    let mut keeper = settings.clone();
    keeper.retention.finished_tasks_days = 0;
    let shutdown = CancellationToken::new();
    let mut addresses = Vec::new();
    let mut running = Vec::new();
    for settings in [&keeper, &settings, &settings] {
        let server = Server::bind(settings).await?;
        addresses.push(server.address());
        running.push(tokio::spawn(server.run(shutdown.clone())));
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left: i64 = sqlx::query_scalar("select count(*) from tasker.tasks").fetch_one(&pool).await?;
        if left == 1 {
            break;
        }
        ensure!(Instant::now() < deadline, "{left} tasks are left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The metrics change shortly after the batch.
    let mut deleted = 0;
    while deleted < 1_200 {
        ensure!(Instant::now() < deadline, "the metrics count {deleted} deleted tasks");
        deleted = tasks_deleted_by(addresses[1]).await? + tasks_deleted_by(addresses[2]).await?;
    }
    assert_eq!(deleted, 1_200);
    assert_eq!(tasks_deleted_by(addresses[0]).await?, 0);
    shutdown.cancel();
    for server in running {
        tokio::time::timeout(Duration::from_secs(10), server).await.context("a server does not stop")??;
    }
    Ok(())
}

#[tokio::test]
async fn a_namespace_can_keep_its_tasks_for_another_time() -> Result<()> {
    let postgres = LocalPostgres::start(Options::default()).await?;
    let pool = PgPoolOptions::new().max_connections(1).connect(&postgres.url()).await?;
    tasker_engine::migrate(&pool).await?;
    let engine = Engine::new(pool.clone());
    let begin = SystemTime::now().duration_since(UNIX_EPOCH)? - Duration::from_secs(50 * 3600);
    sqlx::query("select set_config('tasker.now', (clock_timestamp() - interval '50 hours')::text, false)")
        .execute(&pool)
        .await?;
    let mut tasks = Vec::new();
    for namespace in ["short", "long", "forever"] {
        let steps = json!([{ "name": "a", "handler": { "callable": "noop" } }]);
        let source =
            json!({ "name": "t", "namespace_name": namespace, "version": "1.0.0", "steps": steps }).to_string();
        let parsed = tasker_template::parse(&source, None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        engine.apply_template(&parsed.template, "test").await?;
        let template_id = engine.find_template(namespace, "t", None).await?.context("not stored")?.template_id;
        let task_id = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, begin.as_secs(), 0));
        let task = NewTask { task_id, ..NewTask::new(template_id, json!({})) };
        engine.create_tasks(&[task]).await?;
        engine.operate(task_id, &Operation::Cancel, None, None).await?;
        tasks.push(task_id);
    }
    for (namespace, days) in [("short", 1), ("long", 3), ("forever", 0)] {
        let change = PatchNamespace { finished_tasks_days: Some(Some(days)), ..PatchNamespace::default() };
        ensure!(engine.set_namespace(namespace, &change).await?);
    }

    let mut settings = Settings::default();
    settings.database.url = postgres.url();
    settings.orchestration.port = 0;
    // Shorter than all of them.
    settings.retention.finished_tasks_days = 1;
    let shutdown = CancellationToken::new();
    let server = Server::bind(&settings).await?;
    let server = tokio::spawn(server.run(shutdown.clone()));
    let deadline = Instant::now() + Duration::from_secs(30);
    while engine.get_task_summary(tasks[0]).await?.is_some() {
        ensure!(Instant::now() < deadline, "the task is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), server).await.context("the server does not stop")??;
    // The namespaces are swept by name, so the others had their turn before.
    for task in &tasks[1..] {
        ensure!(engine.get_task_summary(*task).await?.is_some(), "{task} is gone");
    }
    Ok(())
}

#[tokio::test]
async fn events_that_nobody_deleted_are_deleted_after_their_time() -> Result<()> {
    let postgres = LocalPostgres::start(Options::default()).await?;
    let pool = PgPoolOptions::new().max_connections(1).connect(&postgres.url()).await?;
    tasker_engine::migrate(&pool).await?;
    let engine = Engine::new(pool.clone());
    let steps = json!([{ "name": "a", "handler": { "callable": "noop" }, "publishes_events": [{ "name": "done" }] }]);
    let source = json!({ "name": "t", "namespace_name": "orders", "version": "1.0.0", "steps": steps }).to_string();
    let parsed = tasker_template::parse(&source, None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    engine.apply_template(&parsed.template, "test").await?;
    let template_id = engine.find_template("orders", "t", None).await?.context("not stored")?.template_id;
    for hours in [7 * 24 + 1, 7 * 24 - 1] {
        sqlx::query("select set_config('tasker.now', (clock_timestamp() - make_interval(hours => $1))::text, false)")
            .bind(hours)
            .execute(&pool)
            .await?;
        let task = NewTask::new(template_id, json!({}));
        let task_id = task.task_id;
        engine.create_tasks(&[task]).await?;
        let resolve = Operation::Resolve { step: "a".to_owned(), result: json!(hours) };
        engine.operate(task_id, &resolve, None, None).await?;
    }

    let mut settings = Settings::default();
    settings.database.url = postgres.url();
    settings.orchestration.port = 0;
    let shutdown = CancellationToken::new();
    let server = Server::bind(&settings).await?;
    let server = tokio::spawn(server.run(shutdown.clone()));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left: Vec<i32> = sqlx::query_scalar(
            "select (message ->> 'payload')::integer from pgmq.q_orders_domain_events order by msg_id",
        )
        .fetch_all(&pool)
        .await?;
        if left == [7 * 24 - 1] {
            break;
        }
        ensure!(Instant::now() < deadline, "there are the events {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), server).await.context("the server does not stop")??;
    Ok(())
}
