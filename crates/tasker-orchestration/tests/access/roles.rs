//! The owner's role and the runtime role, created as docs/access.md says, on a real PostgreSQL.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_postgres::{LocalPostgres, Options};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tasker_api::TaskState;
use tasker_engine::database;
use tasker_engine::{
    ApplyOutcome, ClaimedStep, CreateOutcome, Engine, NewTask, Operation, OperationOutcome, StepOutcome, StepResult,
};

const LEASE: Duration = Duration::from_secs(30);

async fn run(pool: &PgPool, sql: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.map(drop)
}

/// The SQLSTATE of PostgreSQL's error.
fn refusal(result: sqlx::Result<()>) -> String {
    let code = result.err().and_then(|error| error.as_database_error()?.code().map(|code| code.into_owned()));
    code.unwrap_or_else(|| "none".to_owned())
}

async fn connect(url: &str, user: &str, database: &str) -> Result<PgPool> {
    let options = PgConnectOptions::from_str(url)?.username(user).password("test").database(database);
    Ok(PgPoolOptions::new().max_connections(2).connect_with(options).await?)
}

/// Stores a template in a namespace and runs a task of it: one step fails and is retried, and one is resolved by hand.
/// Then deletes the task.
async fn use_engine(engine: &Engine, namespace: &str) -> Result<()> {
    let handler = json!({ "callable": "c" });
    let step = |name: &str, dependencies: Value| {
        let retry = json!({ "limit": 1 });
        json!({ "name": name, "handler": handler, "dependencies": dependencies, "retry": retry })
    };
    let source = json!({
        "name": "t", "namespace_name": namespace, "version": "1.0.0",
        "steps": [step("a", json!([])), step("b", json!(["a"])), step("c", json!(["b"]))],
    });
    let parsed = tasker_template::parse(&source.to_string(), None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    ensure!(engine.apply_template(&parsed.template, "test").await? == ApplyOutcome::Created);
    let stored = engine.find_template(namespace, "t", None).await?.context("not stored")?;
    let task = NewTask::new(stored.template_id, json!({}));
    let task_id = task.task_id;
    let outcome = engine.create_tasks(&[task]).await?;
    ensure!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");

    let namespaces = [namespace.to_owned()];
    let result = |step: &ClaimedStep, outcome| [StepResult { step: step.step_ref(), outcome }];
    let error = StepOutcome::RetryableError(json!({ "kind": "test", "message": "on purpose" }));
    let a = engine.start_steps("w", &namespaces, 1, LEASE, &[]).await?.pop().context("nothing to start")?;
    engine.complete_steps("w", &namespaces, 0, LEASE, &result(&a, error)).await?;
    let retry = Operation::Retry { step: None };
    ensure!(matches!(engine.operate(task_id, &retry, Some("me"), None).await?, OperationOutcome::Done));
    let a = engine.start_steps("w", &namespaces, 1, LEASE, &[]).await?.pop().context("nothing to start again")?;
    engine.extend_leases(LEASE, &[a.step_ref()]).await?;
    engine.complete_steps("w", &namespaces, 0, LEASE, &result(&a, StepOutcome::Completed(json!(1)))).await?;
    let resolve = Operation::Resolve { step: "b".to_owned(), result: json!(2) };
    ensure!(matches!(engine.operate(task_id, &resolve, Some("me"), None).await?, OperationOutcome::Done));
    let c = engine.start_steps("w", &namespaces, 1, LEASE, &[]).await?.pop().context("nothing to finish")?;
    engine.complete_steps("w", &namespaces, 0, LEASE, &result(&c, StepOutcome::Completed(json!(3)))).await?;
    let status = engine.get_task_summary(task_id).await?.map(|task| task.status);
    ensure!(status == Some(TaskState::Completed), "{status:?}");
    ensure!(engine.delete_finished_tasks(namespace, Duration::ZERO, None, 10).await?.tasks == 1);
    engine.delete_rejected_messages(Duration::ZERO, 10).await?;
    Ok(())
}

#[tokio::test]
async fn the_runtime_role_works_without_the_right_to_change_the_schema() -> Result<()> {
    let postgres =
        LocalPostgres::start(Options { settings: vec![("fsync".to_owned(), "off".to_owned())], ..Options::default() })
            .await?;
    let admin = PgPoolOptions::new().max_connections(1).connect(&postgres.url()).await?;
    // The statements of docs/access.md. The name of the runtime role needs quotes, to test that it gets them.
    run(&admin, "create role tasker_owner login password 'test'").await?;
    run(&admin, "create role \"tasker Runtime\" login password 'test'").await?;
    run(&admin, "create database tasker owner tasker_owner").await?;
    let owner = connect(&postgres.url(), "tasker_owner", "tasker").await?;
    run(&owner, "create schema elsewhere; create table elsewhere.secrets (secret text)").await?;

    tasker_engine::migrate(&owner).await?;
    let owners = Engine::new(owner.clone());
    use_engine(&owners, "before").await?;
    run(&owner, "select tasker.grant_runtime('\"tasker Runtime\"')").await?;
    run(&owner, "select tasker.grant_runtime('\"tasker Runtime\"')").await?;

    let runtime = connect(&postgres.url(), "tasker Runtime", "tasker").await?;
    database::require_schema(&runtime).await?;
    let engine = Engine::new(runtime.clone());
    engine.pgmq_info().await?;
    engine.list_namespaces().await?;

    // A namespace that exists, a new one, and one whose queue has another name.
    let existing = engine.find_template("before", "t", None).await?.context("the owner's template")?;
    let task = NewTask::new(existing.template_id, json!({}));
    engine.create_tasks(&[task]).await?;
    ensure!(engine.start_steps("w", &["before".to_owned()], 1, LEASE, &[]).await?.len() == 1);
    use_engine(&engine, "after").await?;
    use_engine(&engine, "Of_Its_Own").await?;
    // The owner can use what the runtime role created.
    ensure!(owners.start_steps("w", &["after".to_owned()], 1, LEASE, &[]).await?.is_empty());

    let forbidden = [
        "create table tasker.mine (a int)",
        "create table pgmq.mine (a int)",
        "create schema mine",
        "alter table tasker.tasks add mine int",
        "alter table pgmq.q_after add mine int",
        "drop table tasker.tasks",
        "drop table pgmq.q_after",
        "drop function tasker.now()",
        "create or replace function tasker.now() returns timestamptz language sql return clock_timestamp()",
        "truncate tasker.transitions",
        "update tasker.transitions set reason = 'another'",
        "update tasker.task_templates set name = 'another'",
        "update tasker.template_steps set callable = 'another'",
        "select * from elsewhere.secrets",
        "select pgmq.create('mine')",
        "select pgmq.drop_queue('after')",
        "select * from pgmq.meta",
        "select tasker.grant_runtime('\"tasker Runtime\"')",
        "select tasker.grant_queue('after', '\"tasker Runtime\"')",
        "set role tasker_owner",
    ];
    let migrations: String = sqlx::query_scalar(
        "select oid::regclass::text from pg_class where relname = '_sqlx_migrations' and relkind = 'r'",
    )
    .fetch_one(&owner)
    .await?;
    let forget = format!("delete from {migrations}");
    for sql in forbidden.into_iter().chain([forget.as_str()]) {
        let code = refusal(run(&runtime, sql).await);
        // 42501: insufficient privilege.
        ensure!(code == "42501", "{sql}: {code}");
    }

    // The caller's search path does not mislead the function that runs with the owner's rights.
    let mut astray = runtime.acquire().await?;
    sqlx::raw_sql(
        "create function pg_temp.hashtext(text) returns int language sql return 1 / 0;
         create temporary table namespaces (namespace text, queue text, created_at timestamptz);
         set search_path = pg_temp, tasker, pgmq;
         select tasker.ensure_namespace('astray')",
    )
    .execute(&mut *astray)
    .await?;
    drop(astray);
    ensure!(engine.list_namespaces().await?.iter().any(|namespace| namespace.namespace == "astray"));

    // Other roles get no access: PostgreSQL only warns that this statement grants nothing.
    run(&runtime, "grant select on tasker.tasks to public; grant usage on schema tasker to public").await?;
    run(&admin, "create role other login password 'test'").await?;
    let other = connect(&postgres.url(), "other", "tasker").await?;
    for sql in ["select * from tasker.tasks", "select tasker.ensure_namespace('mine')", "select * from pgmq.q_after"] {
        ensure!(refusal(run(&other, sql).await) == "42501", "{sql}");
    }

    // The role is removed as docs/access.md says.
    for pool in [&runtime, &other] {
        pool.close().await;
    }
    let admin_there = PgPoolOptions::new().max_connections(1).connect(&postgres.database_url("tasker")).await?;
    run(&admin_there, "drop owned by \"tasker Runtime\"; drop role \"tasker Runtime\"").await?;
    use_engine(&owners, "without_it").await?;
    Ok(())
}
