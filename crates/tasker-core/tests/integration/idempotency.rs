//! Idempotency keys.

use std::collections::HashSet;

use anyhow::Result;
use serde_json::json;
use tasker_client::{ClientError, OrchestrationApiClient};
use tokio::task::JoinSet;

use crate::support::{Stack, task, unique};

#[tokio::test]
async fn the_same_request_returns_the_same_task_and_another_one_is_a_conflict() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let mut request = task("linear_workflow", "mathematical_sequence", json!({ "even_number": 4 }));
    request.idempotency_key = Some(unique("key"));
    let first = api.create_task(&request).await?;
    let second = api.create_task(&request).await?;
    assert_eq!(first.task_uuid, second.task_uuid);

    request.context.insert("even_number".to_owned(), json!(8));
    let other = api.create_task(&request).await;
    assert!(
        matches!(&other, Err(ClientError::Problem(problem)) if problem.status == 409
            && problem.detail.contains(&first.task_uuid.to_string())),
        "{other:?}"
    );
    Ok(())
}

#[tokio::test]
async fn each_namespace_has_its_own_keys() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let key = unique("key");
    let mut ids = HashSet::new();
    for (namespace, name) in [("linear_workflow", "mathematical_sequence"), ("diamond_workflow", "diamond_pattern")] {
        let mut request = task(namespace, name, json!({ "even_number": 4 }));
        request.idempotency_key = Some(key.clone());
        let first = api.create_task(&request).await?;
        assert_eq!(first.task_uuid, api.create_task(&request).await?.task_uuid);
        ids.insert(first.task_uuid);
    }
    assert_eq!(ids.len(), 2);
    Ok(())
}

#[tokio::test]
async fn concurrent_requests_create_one_task() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let mut request = task("linear_workflow", "mathematical_sequence", json!({ "even_number": 4 }));
    request.idempotency_key = Some(unique("key"));
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        let (api, request) = (api.clone(), request.clone());
        calls.spawn(async move { api.create_task(&request).await });
    }
    let mut ids = HashSet::new();
    while let Some(created) = calls.join_next().await {
        ids.insert(created??.task_uuid);
    }
    assert_eq!(ids.len(), 1);
    Ok(())
}
