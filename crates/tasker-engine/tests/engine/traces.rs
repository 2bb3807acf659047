//! The place in a trace where a task was created.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use tasker_engine::{Engine, NewTask, Rerun};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, completed, step};

fn traceparent(number: u8) -> Option<String> {
    Some(format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033{number:02}-01"))
}

#[tokio::test]
async fn a_claimed_or_handed_step_has_the_traceparent_of_its_task() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template_id = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let new = |number: u8, key: Option<&str>| NewTask {
        idempotency: key.map(|key| (key.to_owned(), vec![number])),
        traceparent: traceparent(number),
        ..NewTask::new(template_id, json!({}))
    };
    // The short way, a set, and tasks with values.
    fixture.engine.create_tasks(&[new(1, None)]).await?;
    fixture.engine.create_tasks(&[new(2, None), new(3, Some("key"))]).await?;
    let values = vec![(String::new(), "tag".to_owned())];
    fixture.engine.create_tasks(&[NewTask { values, ..new(4, None) }]).await?;
    let rerun = Rerun { of: Uuid::now_v7(), actor: None, reason: None };
    fixture.engine.rerun_task(&new(5, None), &rerun).await?;
    fixture.engine.create_tasks(&[NewTask { traceparent: None, ..new(6, None) }]).await?;

    let mut first = fixture.claim("w", 5).await?;
    first.extend(fixture.claim("w", 1).await?);
    let mut found: Vec<_> = first.iter().map(|step| step.traceparent.clone()).collect();
    found.sort();
    assert_eq!(found, [None, traceparent(1), traceparent(2), traceparent(3), traceparent(4), traceparent(5)]);

    let mut handed = fixture.complete("w", 1, &[completed(&first[0])]).await?.handed;
    let results: Vec<_> = first[1..].iter().map(completed).collect();
    handed.extend(fixture.complete("w", 5, &results).await?.handed);
    let pairs: Vec<_> = handed.iter().map(|step| (step.task_id, &step.traceparent)).collect();
    for step in &first {
        assert!(pairs.contains(&(step.task_id, &step.traceparent)), "{step:?}");
    }

    // Only sampled tasks at rest have a summary.
    let tasks: Vec<_> = first.iter().map(|step| step.task_id).collect();
    // The fixture's only connection has the clock.
    let servers = fixture.sessions(2).await?;
    let mut recorder = servers.engine.trace_recorder().await?.context("no one else records")?;
    assert_eq!(recorder.at_rest(&tasks).await?, []);
    fixture.advance_clock(1_000).await?;
    let results: Vec<_> = handed.iter().map(completed).collect();
    fixture.complete("w", 0, &results).await?;
    let traced = recorder.at_rest(&tasks).await?;
    assert_eq!(traced.len(), 5);
    assert!(traced.iter().all(|task| task.state == "completed" && task.completed_steps == 2));
    assert!(traced.iter().all(|task| (task.rested_at - task.created_at).num_milliseconds() == 1_000));
    // One process records, until its connection ends.
    assert!(servers.engine.trace_recorder().await?.is_none());
    drop(recorder);
    taken_over(&servers.engine).await
}

/// Takes the right to record as soon as it is free.
async fn taken_over(engine: &Engine) -> Result<()> {
    let begun = Instant::now();
    while engine.trace_recorder().await?.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the right to record stays taken");
    }
    Ok(())
}

#[tokio::test]
async fn a_recorder_that_hangs_loses_its_right() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut hangs = fixture.engine.trace_recorder().await?.context("no one else records")?;
    taken_over(&fixture.engine).await?;
    assert!(hangs.at_rest(&[]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_fork_is_part_of_the_trace_of_its_request() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = fixture.create_task(template).await?;
    fixture.engine.fork_task(task, "a", Uuid::now_v7(), None, None, traceparent(7).as_deref()).await?;
    let steps = fixture.claim("w", 2).await?;
    let fork = steps.iter().find(|step| step.task_id != task).map(|step| step.traceparent.clone());
    assert_eq!(fork, Some(traceparent(7)));
    Ok(())
}
