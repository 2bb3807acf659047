//! The checks find violations: each rule is broken at least once, in a database of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use local_postgres::{LocalPostgres, Options};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tasker_chaos::consistency;
use tasker_engine::{ClaimedStep, Engine, NewTask, StepOutcome, StepResult};
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "checked";

/// A rule, and a statement that breaks it. `done` is a completed task; `open` is a task whose second step is running
/// and whose third step is waiting. A statement may break other rules too.
const VIOLATIONS: &[(&str, &str)] = &[
    (
        "each transition starts in the state in which the previous one ended",
        "update tasker.transitions set from_state = 'enqueued' where task_id = $done and step_no = 0 and to_state = 'completed'",
    ),
    (
        "each transition starts in the state in which the previous one ended",
        "delete from tasker.transitions where task_id = $done and step_no = 1 and to_state = 'in_progress'",
    ),
    (
        "each transition of a step is legal",
        "insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
         values ($done, now(), 0, 'completed', 'in_progress')",
    ),
    (
        "each transition of a task is legal",
        "insert into tasker.transitions (task_id, at, from_state, to_state) values ($done, now(), 'completed', 'cancelled')",
    ),
    (
        "no step has two recorded results",
        "insert into tasker.transitions (task_id, at, step_no, from_state, to_state)
         values ($done, now(), 0, 'in_progress', 'completed')",
    ),
    (
        "steps are in the last state of their history",
        "update tasker.steps set state = 'enqueued', token = null, due_at = null where task_id = $open and state = 'in_progress'",
    ),
    ("tasks are in the last state of their history", "update tasker.tasks set state = 'pending' where task_id = $open"),
    ("tasks count their steps correctly", "update tasker.tasks set active_steps = 2 where task_id = $open"),
    ("tasks count their steps correctly", "delete from tasker.steps where task_id = $done and step_no = 2"),
    ("the states of tasks follow from their steps", "update tasker.tasks set active_steps = 0 where task_id = $open"),
    (
        "no step of a final task is open",
        "update tasker.tasks set state = 'cancelled', completed_at = now() where task_id = $open",
    ),
    (
        "steps have a result if and only if they are done",
        "update tasker.steps set result = null where task_id = $done and step_no = 0",
    ),
    (
        "steps wait for exactly the dependencies that have no result",
        "update tasker.steps set pending_dependencies = 2 where task_id = $open and state = 'pending'",
    ),
    (
        "attempts match the history and the limit",
        "update tasker.steps set attempts = attempts + 1 where task_id = $done and step_no = 0",
    ),
    (
        "no step waits for a signal that has arrived",
        "with signal as (
             insert into tasker.signals (task_id, name, payload, sent_at) values ($open, 'go', 'null', now())
         )
         update tasker.steps set state = 'waiting', signal = 'go', token = null, due_at = null
         where task_id = $open and state = 'in_progress'",
    ),
    (
        "groups wait for exactly the children that have not settled",
        "update tasker.steps set first_child = 10000, children = 1, next_child = 10000, failed_children = 0
         where task_id = $open and state = 'pending'",
    ),
    (
        "no more children of a group are active than its parallelism",
        "with group_ as (
             update tasker.steps set first_child = 10000, children = 2, next_child = 10002, failed_children = 0
             where task_id = $open and state = 'pending' returning task_id, step_no
         ), limited as (
             update tasker.template_steps set admission = '{\"expand\": {\"parallelism\": 1}}'
         )
         insert into tasker.steps (task_id, step_no, pending_dependencies, state, definition, name)
         select g.task_id, 10000 + n, 0, 'enqueued', g.step_no, 'c' || n from group_ g, generate_series(0, 1) n",
    ),
    (
        "no more steps hold a slot than their gate has",
        "with gate as (
             insert into tasker.gates (namespace, name, capacity, updated_at)
             select namespace, 'g', 1, now() from tasker.namespaces returning gate_id
         )
         insert into tasker.gate_holds (task_id, step_no, gate_id, key, held_at)
         select $open, n, gate_id, '', now() from gate, generate_series(1, 2) n",
    ),
    (
        "gates count their slots correctly",
        "with gate as (
             insert into tasker.gates (namespace, name, capacity, updated_at)
             select namespace, 'g', 1, now() from tasker.namespaces returning gate_id
         )
         insert into tasker.gate_slots (gate_id, key, holds) select gate_id, '', 1 from gate",
    ),
    (
        "every step that holds a slot is active",
        "insert into tasker.gate_holds (task_id, step_no, gate_id, key, held_at) values ($done, 0, 1, '', now())",
    ),
    (
        "every step that waits for a slot is enqueued and has no slot",
        "insert into tasker.gate_waiters (task_id, step_no, gate_id, key, since, visible_at)
         values ($done, 0, 1, '', now(), now())",
    ),
    (
        "no step waits for a slot that is free",
        "with gate as (
             insert into tasker.gates (namespace, name, capacity, updated_at)
             select namespace, 'g', 1, now() from tasker.namespaces returning gate_id
         )
         insert into tasker.gate_waiters (task_id, step_no, gate_id, key, since, visible_at)
         select $open, 1, gate_id, '', now(), now() from gate",
    ),
    ("each active step has a message that is visible when it is due", "delete from pgmq.q_checked"),
    (
        "each active step has a message that is visible when it is due",
        "update pgmq.q_checked set vt = vt + interval '1 hour'",
    ),
];

#[tokio::test]
async fn every_violation_is_found() -> Result<()> {
    let postgres = postgres().await?;
    let (done, open) = {
        let pool = PgPoolOptions::new().connect(&postgres.database_url("original")).await?;
        let engine = Engine::new(pool.clone());
        let template_id = store_template(&engine).await?;
        let done = create(&engine, template_id).await?;
        while let [step] = &claim(&engine).await?[..] {
            complete(&engine, step).await?;
        }
        let open = create(&engine, template_id).await?;
        complete(&engine, claim(&engine).await?.first().context("nothing to claim")?).await?;
        ensure!(claim(&engine).await?.len() == 1, "the second step cannot be claimed");
        assert_eq!(consistency::violations(&pool).await?, Vec::<String>::new());
        assert_eq!(consistency::violations_of_open_tasks(&pool).await?, Vec::<String>::new());
        let left_over = consistency::left_over(&pool).await?;
        assert!(left_over[0].starts_with("every task is at rest: ") && left_over[0].contains(&open.to_string()));
        assert!(left_over[1].starts_with("no message is left in a queue: "));
        assert_eq!(left_over.len(), 2, "{left_over:?}");
        pool.close().await;
        (done, open)
    };
    let admin = PgPoolOptions::new().connect(&postgres.url()).await?;
    for (number, (rule, corruption)) in VIOLATIONS.iter().enumerate() {
        sqlx::query(AssertSqlSafe(format!("create database copy_{number} template original"))).execute(&admin).await?;
        let pool = PgPoolOptions::new().connect(&postgres.database_url(&format!("copy_{number}"))).await?;
        let corruption = corruption.replace("$done", &format!("'{done}'")).replace("$open", &format!("'{open}'"));
        let changed = sqlx::query(AssertSqlSafe(corruption.clone())).execute(&pool).await?.rows_affected();
        ensure!(changed > 0, "changes nothing: {corruption}");
        let found = consistency::violations(&pool).await?;
        assert!(found.iter().any(|line| line.starts_with(&format!("{rule}: "))), "{rule}: {corruption}: {found:#?}");
        pool.close().await;
    }
    Ok(())
}

/// A server with a migrated database `original`.
async fn postgres() -> Result<LocalPostgres> {
    let settings = vec![("fsync".to_owned(), "off".to_owned())];
    let postgres = LocalPostgres::start(Options { settings, ..Options::default() }).await?;
    let admin = PgPoolOptions::new().connect(&postgres.url()).await?;
    sqlx::query("create database original").execute(&admin).await?;
    let original: PgPool = PgPoolOptions::new().connect(&postgres.database_url("original")).await?;
    tasker_engine::migrate(&original).await?;
    original.close().await;
    Ok(postgres)
}

/// Three steps, one after the other.
async fn store_template(engine: &Engine) -> Result<i64> {
    let step = |name: &str, dependencies: &[&str]| json!({ "name": name, "handler": { "callable": "c" }, "dependencies": dependencies });
    let steps = [step("a", &[]), step("b", &["a"]), step("c", &["b"])];
    let source = json!({ "name": "row", "namespace_name": NAMESPACE, "version": "1.0.0", "steps": steps }).to_string();
    let template = tasker_template::parse(&source, None)?.template;
    engine.apply_template(&template, "test").await?;
    Ok(engine.find_template(NAMESPACE, "row", None).await?.context("not stored")?.template_id)
}

async fn create(engine: &Engine, template_id: i64) -> Result<Uuid> {
    let task = NewTask { latest: false, ..NewTask::new(template_id, Value::Null) };
    let task_id = task.task_id;
    engine.create_tasks(&[task]).await?;
    Ok(task_id)
}

async fn claim(engine: &Engine) -> Result<Vec<ClaimedStep>> {
    Ok(engine.start_steps("worker", &[NAMESPACE.to_owned()], 10, LEASE, &[]).await?)
}

async fn complete(engine: &Engine, step: &ClaimedStep) -> Result<()> {
    let result = StepResult { step: step.step_ref(), outcome: StepOutcome::Completed(json!(1)) };
    let completion = engine.complete_steps("worker", &[], 0, LEASE, &[result]).await?;
    ensure!(completion.refused.is_empty(), "refused");
    Ok(())
}
