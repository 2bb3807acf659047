//! Several servers and workers on one database, some of which stop or are killed.

use std::collections::HashMap;

use anyhow::{Context, Result};
use local_postgres::StopMode;
use serde_json::json;
use tasker_api::{HealthStatus, StepState, TaskState, WorkerState};
use tasker_client::OrchestrationApiClient;

use crate::support::{DEADLINE, OwnStack, complete, eventually, fault_step, fault_template, run, step, task};

#[tokio::test]
async fn two_servers_and_two_workers_share_the_work() -> Result<()> {
    let mut stack = OwnStack::start_with(json!({ "max_concurrent": 4 })).await?;
    for _ in 0..2 {
        stack.start_server()?;
        stack.start_worker()?;
    }
    let apis = [stack.api(0)?, stack.api(1)?];
    let steps = json!([
        fault_step("one", "faults.sleep", json!({ "ms": 20 })),
        fault_step("two", "faults.sleep", json!({ "ms": 20 }))
    ]);
    let name = fault_template(&apis[0], &steps).await?;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(apis[n % 2].create_task(&task("faults", &name, json!({}))).await?.task_uuid);
    }
    let mut by_worker: HashMap<String, usize> = HashMap::new();
    for (n, id) in ids.into_iter().enumerate() {
        // By the server that did not create it.
        let done = apis[(n + 1) % 2].wait_for_task(id, DEADLINE).await?;
        assert_eq!(done.summary.status, TaskState::Completed);
        for step in &done.steps {
            *by_worker.entry(step.worker_id.clone().context("no worker")?).or_default() += 1;
        }
        let history = apis[0].list_transitions(id).await?.transitions;
        for step in &done.steps {
            let completions =
                history.iter().filter(|t| t.step.as_ref() == Some(&step.name) && t.to == "completed").count();
            assert_eq!(completions, 1, "{history:#?}");
        }
    }
    assert_eq!(by_worker.len(), 2, "one worker ran all steps: {by_worker:?}");
    assert_eq!(by_worker.values().sum::<usize>(), 120);
    Ok(())
}

#[tokio::test]
async fn steps_of_a_killed_worker_start_again_when_its_leases_end() -> Result<()> {
    let mut stack = OwnStack::start_with(json!({ "lease_ms": 1000 })).await?;
    stack.start_server()?;
    stack.start_worker()?;
    let api = stack.api(0)?;
    let mut slow = fault_step("slow", "faults.sleep", json!({ "ms": 700 }));
    slow["retry"]["limit"] = json!(3);
    let name = fault_template(&api, &json!([slow])).await?;
    let id = api.create_task(&task("faults", &name, json!({}))).await?.task_uuid;
    eventually("the step starts", async || {
        Ok((step(&api.get_task(id).await?, "slow")?.status == StepState::InProgress).then_some(()))
    })
    .await?;
    stack.workers[0].kill()?;
    stack.start_worker()?;
    let done = api.wait_for_task(id, DEADLINE).await?;
    assert_eq!((done.summary.status, done.steps[0].attempts), (TaskState::Completed, 2));
    Ok(())
}

#[tokio::test]
async fn a_stopped_worker_finishes_or_returns_its_steps() -> Result<()> {
    let mut stack = OwnStack::start_with(json!({ "shutdown_timeout_ms": 1500 })).await?;
    stack.start_server()?;
    stack.start_worker()?;
    let api = stack.api(0)?;
    let steps = json!([
        fault_step("short", "faults.sleep", json!({ "ms": 500 })),
        fault_step("long", "faults.sleep", json!({ "ms": 20_000 })),
    ]);
    let name = fault_template(&api, &steps).await?;
    let id = api.create_task(&task("faults", &name, json!({}))).await?.task_uuid;
    eventually("the steps start", async || {
        let task = api.get_task(id).await?;
        Ok(task.steps.iter().all(|step| step.status == StepState::InProgress).then_some(()))
    })
    .await?;
    let ended = stack.workers[0].stop()?;
    assert_eq!(ended.code(), Some(0), "{}", stack.workers[0].log());
    let task = api.get_task(id).await?;
    assert_eq!(step(&task, "short")?.status, StepState::Completed);
    let long = step(&task, "long")?;
    // Returned: in the queue again, and the attempt does not count.
    assert_eq!((long.status, long.attempts), (StepState::Enqueued, 0));
    let workers = api.list_workers(None).await?.workers;
    assert_eq!(workers.iter().map(|worker| worker.status).collect::<Vec<_>>(), [WorkerState::Stopped]);
    Ok(())
}

#[tokio::test]
async fn an_unavailable_database_is_reported_until_it_is_back() -> Result<()> {
    let mut stack = OwnStack::start().await?;
    stack.start_server()?;
    stack.start_worker()?;
    let api = stack.api(0)?;
    let sequence = task("linear_workflow", "mathematical_sequence", json!({ "even_number": 2 }));
    complete(&api, &sequence).await?;

    stack.postgres.interrupt(StopMode::Immediate).await?;
    eventually("the server is unhealthy", async || {
        Ok((api.health().await?.status == HealthStatus::Unhealthy).then_some(()))
    })
    .await?;
    assert!(api.create_task(&sequence).await.is_err());

    stack.postgres.resume().await?;
    eventually("the server is healthy again", async || {
        Ok((api.health().await?.status == HealthStatus::Healthy).then_some(()))
    })
    .await?;
    let again = run(&api, &sequence).await?;
    assert_eq!(again.summary.status, TaskState::Completed);
    let ended = stack.servers[0].stop()?;
    assert_eq!(ended.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_stopping_server_responds_to_waiting_requests() -> Result<()> {
    let mut stack = OwnStack::start().await?;
    stack.start_server()?;
    stack.start_worker()?;
    let api = stack.api(0)?;
    let name = fault_template(&api, &json!([fault_step("slow", "faults.sleep", json!({ "ms": 600_000 }))])).await?;
    let id = api.create_task(&task("faults", &name, json!({}))).await?.task_uuid;
    eventually("the step starts", async || {
        Ok((api.get_task(id).await?.steps[0].status == StepState::InProgress).then_some(()))
    })
    .await?;
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.get_task_at_rest(id, DEADLINE).await }
    });
    // The waiting request was sent before this one, so it has usually arrived when this one returns.
    api.get_task(id).await?;
    let ended = stack.servers[0].stop()?;
    assert_eq!(ended.code(), Some(0));
    match waiting.await? {
        Ok(task) => assert_eq!(task.summary.status, TaskState::InProgress),
        // The server had exited before the request arrived.
        Err(error) => assert!(matches!(error, tasker_client::ClientError::Unreachable { .. }), "{error}"),
    }
    Ok(())
}
