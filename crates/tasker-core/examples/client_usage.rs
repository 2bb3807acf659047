//! Creates a task, waits for it and prints its result.
//!
//! Needs a running stack, such as the one of `tasker-cli dev`:
//!
//! ```text
//! TASKER_ORCHESTRATION_URL=http://127.0.0.1:8080 cargo run --example client_usage
//! ```

use std::time::Duration;

use serde_json::json;
use tasker_core::{CreateTask, OrchestrationApiClient, OrchestrationClient, TaskState};
use uuid::Uuid;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("TASKER_ORCHESTRATION_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let tasker = OrchestrationClient::new(&url)?;

    let task = tasker
        .create_task(&CreateTask {
            namespace: "linear_workflow".to_owned(),
            name: "mathematical_sequence".to_owned(),
            version: None, // the newest
            context: [("even_number".to_owned(), json!(6))].into_iter().collect(),
            // With a key, the client repeats the request if the server is unavailable for a moment.
            idempotency_key: Some(Uuid::new_v4().to_string()),
            priority: None,
            tags: Some(json!(["example"])),
        })
        .await?;
    println!("created task {} ({} steps)", task.task_uuid, task.total_steps);

    let task = tasker.wait_for_task(task.task_uuid, Duration::from_secs(60)).await?;
    for step in &task.steps {
        let result = step.result.as_ref().map_or_else(|| "no result".to_owned(), ToString::to_string);
        println!("{}: {} {result}", step.name, step.status);
    }
    anyhow::ensure!(task.summary.status == TaskState::Completed, "the task is {}", task.summary.status);
    Ok(())
}
