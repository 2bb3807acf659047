//! A server with templates, and workers that the tests play.

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use local_postgres::LocalPostgres;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tasker_api::WorkerState;
use tasker_engine::{ClaimedStep, Engine, StepOutcome, StepResult, WorkerHeartbeat};
use tasker_runtime::settings::{Access, ApiKey, Scope};

use crate::http::{Answer, database};
use crate::server::{Running, key};

pub(crate) const EVERY: [Scope; 3] = [Scope::Read, Scope::Submit, Scope::Operate];

/// A server, its database, and an engine on it.
pub(crate) struct Stack {
    pub(crate) server: Running,
    pub(crate) engine: Engine,
    pub(crate) postgres: LocalPostgres,
}

/// A key that is bound to namespaces.
pub(crate) fn bound(name: &str, namespaces: &[&str]) -> ApiKey {
    ApiKey { namespaces: Some(namespaces.iter().map(|name| (*name).to_owned()).collect()), ..key(name, &EVERY) }
}

impl Stack {
    /// Starts a server with the keys `every-key`, for everything, and `shop-key`, for namespace `shop`.
    pub(crate) async fn start() -> Result<Self> {
        let postgres = database().await?;
        let access = Access { keys: vec![key("every", &EVERY), bound("shop", &["shop"])], ..Access::default() };
        let server = Running::start(&postgres, access).await?;
        let pool = PgPoolOptions::new().max_connections(2).connect(&postgres.url()).await?;
        Ok(Self { server, engine: Engine::new(pool), postgres })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.engine.pool().close().await;
        self.server.stop().await?;
        Ok(())
    }

    pub(crate) async fn get_as(&self, credential: &str, path: &str) -> Result<Answer> {
        self.server.call(credential, "GET", path, &Value::Null).await
    }

    /// The JSON of a path, for the key `every-key`.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.get_as("every-key", path).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        answer.json()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.server.call("every-key", "POST", path, &body).await
    }

    /// Pauses a namespace, or resumes it.
    pub(crate) async fn pause(&self, namespace: &str, paused: bool) -> Result<()> {
        let path = format!("/v1/namespaces/{namespace}");
        let answer = self.server.call("every-key", "PATCH", &path, &json!({ "paused": paused })).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    }

    /// Stores template `t` of a namespace: step `a`, then step `b`, which has one attempt.
    pub(crate) async fn store_template(&self, namespace: &str) -> Result<()> {
        self.store(json!({
            "name": "t", "namespace_name": namespace, "version": "1.0.0", "searchable": ["/order/id", "/none"],
            "steps": [
                { "name": "a", "handler": { "callable": "c.a" }, "retry": { "backoff_base_ms": 0 } },
                { "name": "b", "handler": { "callable": "c.b" }, "dependencies": ["a"], "retry": { "limit": 1 } },
            ],
        }))
        .await
    }

    pub(crate) async fn store(&self, template: Value) -> Result<()> {
        let answer = self.post("/v1/templates", template).await?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok(())
    }

    /// Creates a task of template `t`. Returns its id.
    pub(crate) async fn create(&self, namespace: &str, more: Value) -> Result<String> {
        let mut request = json!({ "namespace": namespace, "name": "t", "context": {} });
        if let (Some(request), Some(more)) = (request.as_object_mut(), more.as_object()) {
            request.extend(more.clone());
        }
        let answer = self.post("/v1/tasks", request).await?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok(answer.json()?["task_uuid"].as_str().context("no id")?.to_owned())
    }

    /// Claims every step that is ready in a namespace.
    pub(crate) async fn claim(&self, namespace: &str) -> Result<Vec<ClaimedStep>> {
        let lease = std::time::Duration::from_secs(30);
        Ok(self.engine.start_steps("w1", &[namespace.to_owned()], 500, lease, &[]).await?)
    }

    /// Records the same outcome for all steps.
    pub(crate) async fn record(&self, namespace: &str, steps: &[ClaimedStep], outcome: StepOutcome) -> Result<()> {
        let results: Vec<_> =
            steps.iter().map(|step| StepResult { step: step.step_ref(), outcome: outcome.clone() }).collect();
        let lease = std::time::Duration::from_secs(30);
        let completion = self.engine.complete_steps("w1", &[namespace.to_owned()], 0, lease, &results).await?;
        ensure!(completion.refused.is_empty(), "{completion:?}");
        Ok(())
    }

    /// Completes step `a` of every task, and fails step `b` for good.
    pub(crate) async fn block(&self, namespace: &str) -> Result<()> {
        self.record(namespace, &self.claim(namespace).await?, StepOutcome::Completed(json!({ "big": "result" })))
            .await?;
        let error = json!({ "kind": "card_declined", "message": "the bank said no" });
        self.record(namespace, &self.claim(namespace).await?, StepOutcome::PermanentError(error)).await
    }

    /// Sends a heartbeat.
    pub(crate) async fn heartbeat(&self, worker_id: &str, namespaces: &[&str], handlers: &[&str]) -> Result<()> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        self.engine
            .heartbeat(&WorkerHeartbeat {
                worker_id,
                namespaces: &own(namespaces),
                status: WorkerState::Running,
                max_concurrent: 4,
                host: "here",
                started_at: Utc::now(),
                handlers: &own(handlers),
                running_steps: 1,
                completed_steps: 10,
                failed_steps: 2,
            })
            .await?;
        Ok(())
    }
}
