//! The typed clients.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tasker_api::{HealthStatus, WorkerState};
use tasker_client::{ClientError, OrchestrationApiClient, OrchestrationClient, WorkerApiClient};

use crate::support::{Stack, fault_step, fault_template, task};

#[tokio::test]
async fn a_wait_that_is_too_short_returns_the_state_of_the_task() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let steps = json!([fault_step("slow", "faults.sleep", json!({ "ms": 600_000 }))]);
    let name = fault_template(&api, &steps).await?;
    let id = api.create_task(&task("faults", &name, json!({}))).await?.task_uuid;
    let waited = api.wait_for_task(id, Duration::from_millis(200)).await;
    assert!(matches!(&waited, Err(ClientError::NotAtRest { task, .. }) if task.summary.task_uuid == id), "{waited:?}");
    api.cancel_task(id, &Default::default()).await?;
    Ok(())
}

#[tokio::test]
async fn a_worker_returns_its_status() -> Result<()> {
    let stack = Stack::start().await?;
    let worker = stack.worker()?;
    assert_eq!(worker.worker_health().await?.status, HealthStatus::Healthy);
    let status = worker.get_worker_status().await?;
    assert_eq!(status.status, WorkerState::Running);
    assert!(status.handlers.iter().any(|handler| handler == "linear_workflow.linear_step_1"), "{status:?}");
    assert!(status.namespaces.iter().any(|namespace| namespace == "order_fulfillment"), "{status:?}");
    let listed = stack.api()?.list_workers(None).await?.workers;
    assert!(listed.iter().any(|one| one.worker_id == status.worker_id));
    Ok(())
}

#[tokio::test]
async fn a_missing_server_is_unreachable() -> Result<()> {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let api = OrchestrationClient::new(&format!("http://127.0.0.1:{port}"))?;
    assert!(matches!(api.health().await, Err(ClientError::Unreachable { .. })));
    Ok(())
}
