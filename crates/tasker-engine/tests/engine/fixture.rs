//! The fixture of the tests: a database, a clock that the test sets, and helpers for common calls.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use local_postgres::LocalPostgres;
use serde_json::{Value, json};
use sqlx::PgPool;
use tasker_engine::database::pool_options;
use tasker_engine::{
    ClaimedStep, Completion, CreateOutcome, Engine, NewSignal, NewTask, SignalOutcome, StepOutcome, StepResult,
};
use uuid::Uuid;

use crate::support::database;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const NAMESPACE: &str = "test";

/// A private database with one session. Its clock stands still until the test advances it.
pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    pub(crate) pool: PgPool,
    postgres: Arc<LocalPostgres>,
}

impl Fixture {
    /// Starts and migrates the database. The clock shows midnight.
    pub(crate) async fn new() -> Result<Self> {
        let fixture = Self::connect(Arc::new(database().await?)).await?;
        sqlx::query("select set_config('tasker.now', '2030-01-01 00:00:00+00', false)").execute(&fixture.pool).await?;
        Ok(fixture)
    }

    /// Several sessions on the same database. Their clocks are not set.
    pub(crate) async fn sessions(&self, count: u32) -> Result<Self> {
        let pool = pool_options().max_connections(count).connect(&self.postgres.url()).await?;
        Ok(Self { engine: Engine::new(pool.clone()), pool, postgres: Arc::clone(&self.postgres) })
    }

    async fn connect(postgres: Arc<LocalPostgres>) -> Result<Self> {
        let pool = pool_options().max_connections(1).connect(&postgres.url()).await?;
        Ok(Self { engine: Engine::new(pool.clone()), pool, postgres })
    }

    /// Another session on the same database, as another server has. Its clock is not set.
    pub(crate) async fn another_session(&self) -> Result<Self> {
        Self::connect(Arc::clone(&self.postgres)).await
    }

    /// Sets the clock of the session.
    pub(crate) async fn set_clock(&self, time: DateTime<Utc>) -> Result<()> {
        sqlx::query("select set_config('tasker.now', $1, false)").bind(time.to_rfc3339()).execute(&self.pool).await?;
        Ok(())
    }

    /// Advances the clock.
    pub(crate) async fn advance_clock(&self, milliseconds: i64) -> Result<()> {
        sqlx::query("select set_config('tasker.now', (tasker.now() + $1 * interval '1 millisecond')::text, false)")
            .bind(milliseconds)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Stores a template with these steps in a namespace. Returns its id.
    pub(crate) async fn store_template(&self, namespace: &str, steps: Value) -> Result<i64> {
        let source =
            json!({ "name": "t", "namespace_name": namespace, "version": "1.0.0", "steps": steps }).to_string();
        let parsed = tasker_template::parse(&source, None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        self.engine.apply_template(&parsed.template, "test").await?;
        let stored = self.engine.find_template(namespace, "t", None).await?.context("the template is not stored")?;
        Ok(stored.template_id)
    }

    /// Creates a task. Returns its id.
    pub(crate) async fn create_task(&self, template_id: i64) -> Result<Uuid> {
        self.create_task_with_priority(template_id, 0).await
    }

    /// Creates a task with a priority. Returns its id.
    pub(crate) async fn create_task_with_priority(&self, template_id: i64, priority: i16) -> Result<Uuid> {
        let task = NewTask { priority, ..NewTask::new(template_id, json!({ "n": 1 })) };
        let task_id = task.task_id;
        let outcome = self.engine.create_tasks(&[task]).await?;
        anyhow::ensure!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
        Ok(task_id)
    }

    /// Claims up to `limit` steps for a worker.
    pub(crate) async fn claim(&self, worker: &str, limit: u32) -> Result<Vec<ClaimedStep>> {
        Ok(self.engine.start_steps(worker, &[NAMESPACE.to_owned()], limit, LEASE, &[]).await?)
    }

    /// Claims the only available step. Fails if there is none or more than one.
    pub(crate) async fn claim_only(&self, worker: &str) -> Result<ClaimedStep> {
        let mut steps = self.claim(worker, 10).await?;
        anyhow::ensure!(steps.len() == 1, "expected one step: {steps:?}");
        steps.pop().context("no step is available")
    }

    /// Claims the first available step.
    pub(crate) async fn claim_first(&self, worker: &str) -> Result<ClaimedStep> {
        self.claim(worker, 1).await?.pop().context("no step is available")
    }

    /// Records results, and claims up to `take` steps that become ready.
    pub(crate) async fn complete(&self, worker: &str, take: u32, results: &[StepResult]) -> Result<Completion> {
        Ok(self.engine.complete_steps(worker, &[NAMESPACE.to_owned()], take, LEASE, results).await?)
    }

    /// Sends a signal.
    pub(crate) async fn signal(
        &self,
        task_id: Uuid,
        name: &str,
        payload: &Value,
        actor: Option<&str>,
    ) -> Result<SignalOutcome> {
        let signal =
            NewSignal { task_id, name: name.to_owned(), payload: payload.clone(), actor: actor.map(str::to_owned) };
        self.engine.send_signals(&[signal]).await?.pop().context("no outcome")
    }

    /// Returns the values of a query that has one column.
    pub(crate) async fn values<T>(&self, query: &'static str) -> Result<Vec<T>>
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        Ok(sqlx::query_scalar(query).fetch_all(&self.pool).await?)
    }

    /// Returns the single value of a query.
    pub(crate) async fn value<T>(&self, query: &'static str) -> Result<T>
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        Ok(sqlx::query_scalar(query).fetch_one(&self.pool).await?)
    }
}

/// A template's step with three attempts, one second apart.
pub(crate) fn step(name: &str, dependencies: &[&str]) -> Value {
    json!({
        "name": name,
        "handler": { "callable": "test.step" },
        "dependencies": dependencies,
        "retry": { "limit": 3, "backoff": "fixed", "backoff_base_ms": 1000, "max_backoff_ms": 1000 },
    })
}

/// A step with further fields.
pub(crate) fn with(name: &str, dependencies: &[&str], fields: Value) -> Value {
    let mut step = step(name, dependencies);
    if let (Value::Object(step), Value::Object(fields)) = (&mut step, fields) {
        step.extend(fields);
    }
    step
}

pub(crate) fn completed(step: &ClaimedStep) -> StepResult {
    StepResult { step: step.step_ref(), outcome: StepOutcome::Completed(json!({ "done": step.step_name })) }
}

pub(crate) fn failed(step: &ClaimedStep) -> StepResult {
    StepResult {
        step: step.step_ref(),
        outcome: StepOutcome::RetryableError(json!({ "kind": "test", "message": "intended failure" })),
    }
}
