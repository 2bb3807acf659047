//! What operators do to whole namespaces, and forks and time limits of tasks.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tasker_api::{DeadLetterReason, ListDeadLetters, PatchNamespace, StepState, TaskState};
use tasker_engine::{Operation, OperationOutcome, StepOutcome, StepResult};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, completed, step};

#[tokio::test]
async fn a_fork_keeps_the_results_that_do_not_depend_on_its_step() -> Result<()> {
    let fixture = Fixture::new().await?;
    // a -> b -> d, a -> c -> d
    let steps = json!([step("a", &[]), step("b", &["a"]), step("c", &["a"]), step("d", &["b", "c"])]);
    let template = fixture.store_template(NAMESPACE, steps).await?;
    let task = fixture.create_task_with_priority(template, 3).await?;
    let a = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[completed(&a)]).await?;
    fixture.engine.operate(task, &Operation::Resolve { step: "c".into(), result: json!(7) }, None, None).await?;
    let b = fixture.claim_only("w").await?;
    let error = StepOutcome::PermanentError(json!({ "kind": "test", "message": "intended failure" }));
    fixture.complete("w", 0, &[StepResult { step: b.step_ref(), outcome: error }]).await?;
    fixture.engine.operate(task, &Operation::Fail, None, None).await?;
    let before = fixture.engine.get_task(task, true).await?.context("no task")?;

    let fork = Uuid::now_v7();
    let outcome = fixture.engine.fork_task(task, "b", fork, Some("ada"), Some("fixed"), None).await?;
    assert_eq!(outcome, OperationOutcome::Done);
    let detail = fixture.engine.get_task(fork, true).await?.context("no fork")?;
    assert_eq!(detail.forked_from, Some(task));
    assert_eq!((detail.context.clone(), detail.summary.priority), (before.context.clone(), 3));
    assert_eq!((detail.summary.status, detail.summary.completed_steps), (TaskState::Pending, 2));
    let states: Vec<_> = detail.steps.iter().map(|step| step.status).collect();
    let expected = [StepState::Completed, StepState::Enqueued, StepState::ResolvedManually, StepState::Pending];
    assert_eq!(states, expected);
    assert_eq!(detail.steps[2].result, Some(json!(7)));

    // Only `b` and `d` run, with the copied results.
    let b = fixture.claim_only("w").await?;
    assert_eq!((b.task_id, b.step_name.as_str(), b.attempt), (fork, "b", 1));
    fixture.complete("w", 0, &[completed(&b)]).await?;
    let d = fixture.claim_only("w").await?;
    assert_eq!((d.step_name.as_str(), d.dependency_results["c"].clone()), ("d", json!(7)));
    fixture.complete("w", 0, &[completed(&d)]).await?;
    let done = fixture.engine.get_task_summary(fork).await?.context("no fork")?;
    assert_eq!((done.status, done.completed_steps), (TaskState::Completed, 4));

    // The old task names its fork, and is otherwise as it was.
    let after = fixture.engine.get_task(task, true).await?.context("no task")?;
    assert_eq!(after.forks, [fork]);
    assert_eq!((after.summary, after.steps), (before.summary, before.steps));
    let history = fixture.engine.list_transitions(fork, None, 0, None).await?;
    let reason = format!("forked from task {task} at step b: fixed");
    ensure!(history[0].reason.as_ref() == Some(&reason) && history[0].actor.as_deref() == Some("ada"), "{history:?}");

    assert_eq!(fixture.engine.fork_task(task, "x", Uuid::now_v7(), None, None, None).await?, OperationOutcome::NoStep);
    let unknown = fixture.engine.fork_task(Uuid::now_v7(), "b", Uuid::now_v7(), None, None, None).await?;
    assert_eq!(unknown, OperationOutcome::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_fork_of_a_running_task_runs_its_unfinished_steps_too() -> Result<()> {
    let fixture = Fixture::new().await?;
    let steps = json!([step("a", &[]), step("b", &[]), step("c", &["a", "b"])]);
    let template = fixture.store_template(NAMESPACE, steps).await?;
    let task = fixture.create_task(template).await?;
    let first = fixture.claim_first("w").await?;
    fixture.complete("w", 0, &[completed(&first)]).await?;
    let fork = Uuid::now_v7();
    fixture.engine.fork_task(task, "c", fork, None, None, None).await?;
    let mut open: Vec<_> =
        fixture.claim("w", 10).await?.into_iter().map(|step| (step.task_id == fork, step.step_name)).collect();
    open.sort();
    let other = if first.step_name == "a" { "b" } else { "a" };
    assert_eq!(open, [(false, other.to_owned()), (true, other.to_owned())]);
    Ok(())
}

#[tokio::test]
async fn a_task_that_takes_longer_than_its_template_allows_is_cancelled() -> Result<()> {
    let fixture = Fixture::new().await?;
    let source = |name: &str, lifecycle: &str| {
        format!(
            "{{name: {name}, namespace_name: {NAMESPACE}, version: 1.0.0, {lifecycle} steps: [{{name: a, handler: \
             {{callable: c}}}}]}}"
        )
    };
    let mut ids = Vec::new();
    for (name, lifecycle) in [("timed", "lifecycle: {max_duration_minutes: 60},"), ("free", "")] {
        let parsed = tasker_template::parse(&source(name, lifecycle), None).map_err(|e| anyhow::anyhow!("{e}"))?;
        fixture.engine.apply_template(&parsed.template, "test").await?;
        ids.push(fixture.engine.find_template(NAMESPACE, name, None).await?.context("not stored")?.template_id);
    }
    // Ids have the real time, so the clock starts there.
    fixture.set_clock(chrono::Utc::now()).await?;
    let timed = fixture.create_task(ids[0]).await?;
    let free = fixture.create_task(ids[1]).await?;
    let running = fixture.claim("w", 10).await?;
    let detail = async |task| fixture.engine.get_task(task, false).await?.context("no task");
    let created_at = detail(timed).await?.summary.created_at;
    assert_eq!(detail(timed).await?.deadline, Some(created_at + chrono::TimeDelta::hours(1)));
    assert_eq!(detail(free).await?.deadline, None);
    fixture.advance_clock(59 * 60_000).await?;
    ensure!(fixture.engine.end_late_tasks(10).await?.is_empty());
    fixture.advance_clock(2 * 60_000).await?;
    assert_eq!(fixture.engine.end_late_tasks(10).await?, [timed]);
    ensure!(fixture.engine.end_late_tasks(10).await?.is_empty());
    let state = async |task| anyhow::Ok(fixture.engine.get_task_summary(task).await?.context("no task")?.status);
    assert_eq!((state(timed).await?, state(free).await?), (TaskState::Cancelled, TaskState::InProgress));
    let ended = detail(timed).await?;
    assert_eq!(ended.deadline, None);
    assert_eq!(ended.ended_by.as_deref(), Some("tasker"));
    assert_eq!(ended.end_reason.as_deref(), Some("the task took longer than max_duration_minutes"));
    let letters = fixture.engine.list_dead_letters(None, &ListDeadLetters::default(), 50).await?;
    assert_eq!(letters.iter().map(|letter| letter.task_uuid).collect::<Vec<_>>(), [timed]);
    assert_eq!(letters[0].dlq_reason, DeadLetterReason::StalenessTimeout);
    let late: Vec<_> = running.iter().filter(|step| step.task_id == timed).map(completed).collect();
    assert_eq!(fixture.complete("w", 0, &late).await?.refused.len(), 1, "the late result is refused");
    Ok(())
}

#[tokio::test]
async fn the_settings_of_a_namespace_change_one_by_one() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    fixture.create_task(template).await?;
    let due = async || anyhow::Ok(fixture.engine.next_due(&[NAMESPACE.to_owned()]).await?.len());
    assert_eq!(due().await?, 1);
    let change = async |paused, days| {
        let change = PatchNamespace { paused, finished_tasks_days: days };
        ensure!(fixture.engine.set_namespace(NAMESPACE, &change).await?);
        let namespace = fixture.engine.get_namespace(NAMESPACE).await?.context("no namespace")?;
        Ok((namespace.paused_at.is_some(), namespace.finished_tasks_days))
    };
    assert_eq!(change(Some(true), None).await?, (true, None));
    assert_eq!(due().await?, 0, "workers do not wake up for a paused namespace");
    assert_eq!(change(None, Some(Some(7))).await?, (true, Some(7)));
    assert_eq!(change(None, Some(Some(0))).await?, (true, Some(0)));
    assert_eq!(change(Some(false), None).await?, (false, Some(0)));
    assert_eq!(change(None, Some(None)).await?, (false, None));
    assert_eq!(due().await?, 1);
    ensure!(!fixture.engine.set_namespace("unknown", &PatchNamespace::default()).await?);
    Ok(())
}
