//! A database and what tests do with it.

use std::time::Duration;

use anyhow::{Context, Result};
use local_postgres::LocalPostgres;
use serde_json::{Value, json};
use sqlx::PgPool;
use tasker_engine::database::pool_options;
use tasker_engine::{ClaimedStep, Completion, CreateOutcome, Engine, NewTask, StepOutcome, StepResult};
use uuid::Uuid;

use crate::support::database;

pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(crate) const NAMESPACE: &str = "bench";

/// A database of its own with one session, whose clock stands still until it is moved.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) pool: PgPool,
    _postgres: LocalPostgres,
}

impl Bench {
    /// A migrated database; the clock shows midnight.
    pub(crate) async fn new() -> Result<Self> {
        let postgres = database().await?;
        let pool = pool_options().max_connections(1).connect(&postgres.url()).await?;
        let bench = Self { engine: Engine::new(pool.clone()), pool, _postgres: postgres };
        sqlx::query("select set_config('tasker.now', '2030-01-01 00:00:00+00', false)").execute(&bench.pool).await?;
        Ok(bench)
    }

    /// Moves the clock.
    pub(crate) async fn pass(&self, milliseconds: i64) -> Result<()> {
        sqlx::query("select set_config('tasker.now', (tasker.now() + $1 * interval '1 millisecond')::text, false)")
            .bind(milliseconds)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Stores a template of these steps in a namespace.
    pub(crate) async fn template(&self, namespace: &str, steps: Value) -> Result<i64> {
        let source =
            json!({ "name": "t", "namespace_name": namespace, "version": "1.0.0", "steps": steps }).to_string();
        let parsed = tasker_template::parse(&source, None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        self.engine.apply_template(&parsed.template).await?;
        let stored = self.engine.find_template(namespace, "t", None).await?.context("not stored")?;
        Ok(stored.template_id)
    }

    /// Creates a task.
    pub(crate) async fn task(&self, template_id: i64) -> Result<Uuid> {
        self.task_with_priority(template_id, 0).await
    }

    /// Creates a task with a priority.
    pub(crate) async fn task_with_priority(&self, template_id: i64, priority: i16) -> Result<Uuid> {
        let task_id = Uuid::now_v7();
        let task = NewTask {
            task_id,
            template_id,
            latest: true,
            context: json!({ "n": 1 }),
            priority,
            tags: None,
            idempotency: None,
        };
        let outcome = self.engine.create_tasks(&[task]).await?;
        anyhow::ensure!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
        Ok(task_id)
    }

    /// Claims up to `limit` steps for a worker.
    pub(crate) async fn start(&self, worker: &str, limit: u32) -> Result<Vec<ClaimedStep>> {
        Ok(self.engine.start_steps(worker, &[NAMESPACE.to_owned()], limit, LEASE, &[]).await?)
    }

    /// Claims the one step that can be claimed.
    pub(crate) async fn start_one(&self, worker: &str) -> Result<ClaimedStep> {
        let mut steps = self.start(worker, 10).await?;
        anyhow::ensure!(steps.len() == 1, "not one step: {steps:?}");
        steps.pop().context("one step")
    }

    /// Claims the first step.
    pub(crate) async fn start_one_of(&self, worker: &str) -> Result<ClaimedStep> {
        self.start(worker, 1).await?.pop().context("no step")
    }

    /// Records results; takes up to `take` steps.
    pub(crate) async fn finish(&self, worker: &str, take: u32, results: &[StepResult]) -> Result<Completion> {
        Ok(self.engine.complete_steps(worker, &[NAMESPACE.to_owned()], take, LEASE, results).await?)
    }

    /// One value of a query.
    pub(crate) async fn value<T>(&self, query: &'static str) -> Result<T>
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        Ok(sqlx::query_scalar(query).fetch_one(&self.pool).await?)
    }
}

/// A step without dependencies, with three quick attempts.
pub(crate) fn step(name: &str, dependencies: &[&str]) -> Value {
    json!({
        "name": name,
        "handler": { "callable": "bench.step" },
        "dependencies": dependencies,
        "retry": { "limit": 3, "backoff": "fixed", "backoff_base_ms": 1000, "max_backoff_ms": 1000 },
    })
}

pub(crate) fn completed(step: &ClaimedStep) -> StepResult {
    StepResult { step: step.step_ref(), outcome: StepOutcome::Completed(json!({ "done": step.step_name })) }
}

pub(crate) fn failed(step: &ClaimedStep) -> StepResult {
    StepResult {
        step: step.step_ref(),
        outcome: StepOutcome::RetryableError(json!({ "kind": "test", "message": "on purpose" })),
    }
}
