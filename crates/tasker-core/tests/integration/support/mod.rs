//! Stacks, and helpers for tests.

mod process;
mod stack;

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tasker_api::{CreateTask, StepDetail, TaskDetail, TaskState};
use tasker_client::OrchestrationApiClient;
use uuid::Uuid;

pub(crate) use process::{binary, send_signal};
pub(crate) use stack::{OwnStack, Stack};

/// How long anything in a test may take: far longer than it does unless the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A request to create a task.
pub(crate) fn task(namespace: &str, name: &str, context: Value) -> CreateTask {
    CreateTask {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        version: None,
        context: context.as_object().cloned().unwrap_or_else(Map::new),
        idempotency_key: None,
        priority: None,
        tags: None,
    }
}

/// A unique name.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::now_v7().simple())
}

/// Stores a template of namespace `faults` with a unique name; `steps` are its steps as YAML. Returns the name.
pub(crate) async fn fault_template(api: &impl OrchestrationApiClient, steps: &Value) -> Result<String> {
    let name = unique("test");
    let template = json!({ "name": name, "namespace_name": "faults", "version": "1.0.0", "steps": steps });
    api.apply_template(&template.to_string()).await?;
    Ok(name)
}

/// A step of namespace `faults` with a quick retry policy.
pub(crate) fn fault_step(name: &str, callable: &str, initialization: Value) -> Value {
    json!({
        "name": name,
        "handler": { "callable": callable, "initialization": initialization },
        "retry": { "limit": 3, "backoff": "fixed", "backoff_base_ms": 50, "max_backoff_ms": 50 },
    })
}

/// Creates a task and waits until it is at rest.
pub(crate) async fn run(api: &impl OrchestrationApiClient, request: &CreateTask) -> Result<TaskDetail> {
    let created = api.create_task(request).await?;
    Ok(api.wait_for_task(created.task_uuid, DEADLINE).await?)
}

/// Creates a task and waits until it has completed.
pub(crate) async fn complete(api: &impl OrchestrationApiClient, request: &CreateTask) -> Result<TaskDetail> {
    let task = run(api, request).await?;
    anyhow::ensure!(task.summary.status == TaskState::Completed, "the task did not complete: {task:#?}");
    Ok(task)
}

/// The step of this name.
pub(crate) fn step<'a>(task: &'a TaskDetail, name: &str) -> Result<&'a StepDetail> {
    task.steps.iter().find(|step| step.name == name).with_context(|| format!("no step {name}"))
}

/// Waits until `probe` returns a value. `what` describes it in the error.
pub(crate) async fn eventually<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    probe: impl Fn() -> F,
) -> Result<T> {
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        anyhow::ensure!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
