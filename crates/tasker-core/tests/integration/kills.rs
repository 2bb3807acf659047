//! SIGKILL of the worker, the server, a session of PostgreSQL, and PostgreSQL, while hundreds of tasks are running.
//! Every task completes, no step gets two results, and work continues within a lease and a second.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use local_postgres::StopMode;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tasker_api::{CreateTask, TaskState};
use tasker_chaos::consistency;
use tasker_client::{ClientError, OrchestrationApiClient};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{DEADLINE, OwnStack, eventually, fault_step, fault_template, send_signal, task};

const LEASE: Duration = Duration::from_secs(2);
/// The names of the worker's sessions in the database: in Rust, and in other languages.
const WORKER_SESSIONS: &[&str] = &["rust-worker", "tasker-worker"];
/// How long it may take until work continues.
const RECOVERY: Duration = Duration::from_secs(3);
/// How many slow tasks are running when something is killed.
const SLOW_TASKS: usize = 200;
/// How many tasks of each sample workflow are created just before.
const QUICK_TASKS: usize = 10;

#[tokio::test]
async fn a_killed_worker_costs_its_steps_an_attempt_and_nothing_else() -> Result<()> {
    let mut field = Field::busy().await?;
    let killed_at = field.now().await?;
    field.stack.workers[0].kill()?;
    // Once its sessions have ended, everything that it had sent is carried out.
    eventually("the sessions of the worker end", async || {
        Ok(field.backends(WORKER_SESSIONS).await?.is_empty().then_some(()))
    })
    .await?;
    let held: Vec<(Uuid, i16)> =
        sqlx::query_as("select task_id, step_no from tasker.steps where state = 'in_progress'")
            .fetch_all(&field.pool)
            .await?;
    ensure!(held.len() >= SLOW_TASKS / 2, "the worker held only {} steps", held.len());
    field.stack.start_worker()?;
    field.everything_completes().await?;

    let (tasks, steps): (Vec<_>, Vec<_>) = held.iter().copied().unzip();
    let (started, last): (i64, DateTime<Utc>) = sqlx::query_as(
        "select count(t.at), max(t.at) from unnest($1::uuid[], $2::smallint[]) h(task_id, step_no), lateral (
             select min(at) as at from tasker.transitions t
             where t.task_id = h.task_id and t.step_no = h.step_no and t.to_state = 'in_progress' and t.at > $3) t",
    )
    .bind(tasks)
    .bind(steps)
    .bind(killed_at)
    .fetch_one(&field.pool)
    .await?;
    assert_eq!(usize::try_from(started)?, held.len(), "steps of the dead worker did not start again");
    within_recovery(killed_at, last)
}

#[tokio::test]
async fn a_killed_server_costs_nothing() -> Result<()> {
    let mut field = Field::busy().await?;
    let killed_at = field.now().await?;
    field.stack.servers[0].kill()?;
    field.stack.start_server()?;
    field.everything_completes().await?;
    within_recovery(killed_at, field.first_result_after(killed_at).await?)
}

#[tokio::test]
async fn a_killed_backend_of_the_worker_costs_attempts_at_most() -> Result<()> {
    a_killed_backend_of(WORKER_SESSIONS).await
}

#[tokio::test]
async fn a_killed_backend_of_the_server_costs_attempts_at_most() -> Result<()> {
    a_killed_backend_of(&["tasker-server"]).await
}

/// PostgreSQL then ends all its sessions, and recovers from its log.
async fn a_killed_backend_of(applications: &[&str]) -> Result<()> {
    let field = Field::busy().await?;
    let url = field.stack.postgres.url();
    let mut witness = PgConnection::connect(&url).await?;
    let backends = field.backends(applications).await?;
    send_signal(u32::try_from(*backends.first().context("no backend")?)?, "KILL")?;
    let begun = std::time::Instant::now();
    while sqlx::query("select 1").execute(&mut witness).await.is_ok() {
        ensure!(begun.elapsed() < DEADLINE, "PostgreSQL did not notice");
    }
    let back_at = eventually("PostgreSQL is back", async || Ok(field.now().await.ok())).await?;
    field.everything_completes().await?;
    within_recovery(back_at, field.first_result_after(back_at).await?)
}

#[tokio::test]
async fn a_crash_of_postgresql_costs_attempts_at_most() -> Result<()> {
    let mut field = Field::busy().await?;
    field.stack.postgres.interrupt(StopMode::Immediate).await?;
    field.stack.postgres.resume().await?;
    let back_at = field.now().await?;
    field.everything_completes().await?;
    within_recovery(back_at, field.first_result_after(back_at).await?)
}

fn within_recovery(from: DateTime<Utc>, to: DateTime<Utc>) -> Result<()> {
    let took = (to - from).to_std().unwrap_or_default();
    ensure!(
        took <= RECOVERY,
        "work continued after {took:?}, not within {RECOVERY:?} (a lease of {LEASE:?} and a second)"
    );
    Ok(())
}

/// A busy stack.
struct Field {
    stack: OwnStack,
    pool: PgPool,
    tasks: Vec<Uuid>,
}

impl Field {
    /// Starts a stack, and tasks that are all running when this returns.
    async fn busy() -> Result<Self> {
        let mut stack = OwnStack::start_with(json!({ "lease_ms": LEASE.as_millis(), "max_concurrent": 1_000 })).await?;
        stack.start_server()?;
        stack.start_worker()?;
        let pool = PgPoolOptions::new().max_connections(2).connect(&stack.postgres.url()).await?;
        let name = fault_template(&stack.api(0)?, &slow_steps()).await?;
        let mut field = Self { stack, pool, tasks: Vec::new() };
        field.create(vec![task("faults", &name, json!({})); SLOW_TASKS]).await?;
        eventually("all slow tasks run", async || {
            let running: i64 =
                sqlx::query_scalar("select count(*) from tasker.steps where state = 'in_progress' and step_no = 0")
                    .fetch_one(&field.pool)
                    .await?;
            Ok((usize::try_from(running)? == SLOW_TASKS).then_some(()))
        })
        .await?;
        let quick: Vec<_> = (0..QUICK_TASKS).flat_map(|_| sample_tasks()).collect();
        field.create(quick).await?;
        let open: i64 =
            sqlx::query_scalar("select count(*) from tasker.tasks where state in ('pending', 'in_progress')")
                .fetch_one(&field.pool)
                .await?;
        ensure!(usize::try_from(open)? >= SLOW_TASKS, "only {open} tasks run");
        Ok(field)
    }

    /// Creates tasks concurrently.
    async fn create(&mut self, requests: Vec<CreateTask>) -> Result<()> {
        let api = self.stack.api(0)?;
        let mut creating = JoinSet::new();
        for request in requests {
            let api = api.clone();
            creating.spawn(async move { api.create_task(&request).await });
        }
        while let Some(created) = creating.join_next().await {
            self.tasks.push(created??.task_uuid);
        }
        Ok(())
    }

    /// The time by PostgreSQL's clock.
    async fn now(&self) -> sqlx::Result<DateTime<Utc>> {
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&self.pool).await
    }

    /// The process ids of the sessions of a program, busy ones first.
    async fn backends(&self, applications: &[&str]) -> sqlx::Result<Vec<i32>> {
        sqlx::query_scalar(
            "select pid from pg_stat_activity where application_name = any ($1) order by (state = 'active') desc",
        )
        .bind(applications)
        .fetch_all(&self.pool)
        .await
    }

    /// When the first step completed after a moment.
    async fn first_result_after(&self, moment: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let first: Option<DateTime<Utc>> = sqlx::query_scalar(
            "select min(at) from tasker.transitions where step_no is not null and to_state = 'completed' and at > $1",
        )
        .bind(moment)
        .fetch_one(&self.pool)
        .await?;
        first.context("no step has completed after the kill")
    }

    /// Waits until every task has completed and the queues are empty; then everything must be as it must be.
    async fn everything_completes(&self) -> Result<()> {
        let api = self.stack.api(self.stack.servers.len() - 1)?;
        for id in &self.tasks {
            // A server responds with 503 until all its sessions are new.
            let task = eventually("a response", async || match api.wait_for_task(*id, DEADLINE).await {
                Err(ClientError::Problem(problem)) if problem.status == 503 => Ok(None),
                answer => Ok(Some(answer?)),
            })
            .await?;
            ensure!(task.summary.status == TaskState::Completed, "the task did not complete: {task:#?}");
        }
        eventually("nothing is left", async || Ok(consistency::left_over(&self.pool).await?.is_empty().then_some(())))
            .await?;
        let violations = consistency::violations(&self.pool).await?;
        ensure!(violations.is_empty(), "{violations:#?}");
        Ok(())
    }
}

/// Four steps: a slow one, so that all tasks are running; two parallel ones, one of which fails at first; and a last
/// one.
fn slow_steps() -> Value {
    let patient = |name: &str, callable: &str, initialization: Value, dependencies: Value| {
        let mut step = fault_step(name, callable, initialization);
        step["retry"]["limit"] = json!(10);
        step["dependencies"] = dependencies;
        step
    };
    json!([
        patient("begin", "faults.sleep", json!({ "ms": 1_500 }), json!([])),
        patient("sleep", "faults.sleep", json!({ "ms": 300 }), json!(["begin"])),
        patient("fail", "faults.fail_times", json!({ "failures": 1 }), json!(["begin"])),
        patient("end", "faults.echo", json!({}), json!(["sleep", "fail"])),
    ])
}

/// One task of each sample workflow.
fn sample_tasks() -> [CreateTask; 5] {
    let even = || json!({ "even_number": 6 });
    let order = json!({
        "customer": { "id": 1, "email": "ada@example.org" },
        "items": [{ "sku": "A", "quantity": 2, "unit_price_cents": 1_250 }],
        "payment": { "method": "card", "token": "tok_1" },
        "shipping": {
            "address": { "street": "Main Street 1", "city": "Springfield", "postal_code": "12345", "country": "US" },
        },
    });
    [
        task("linear_workflow", "mathematical_sequence", even()),
        task("diamond_workflow", "diamond_pattern", even()),
        task("tree_workflow", "hierarchical_tree", even()),
        task("mixed_dag_workflow", "complex_dag", even()),
        task("order_fulfillment", "business_workflow", order),
    ]
}
