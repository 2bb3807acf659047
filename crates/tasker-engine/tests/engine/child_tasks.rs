//! Steps that run a task of their own.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tasker_api::{PatchNamespace, StepState, TaskDetail, TaskState};
use tasker_engine::{CreateOutcome, NewTask, Operation, OperationOutcome, StepOutcome, StepResult, StepWait};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, completed, step, with};

/// Stores a template of this name.
async fn store(fixture: &Fixture, name: &str, steps: Value) -> Result<i64> {
    let source = json!({ "name": name, "namespace_name": NAMESPACE, "version": "1.0.0", "steps": steps,
        "searchable": ["/number"] });
    let parsed = tasker_template::parse(&source.to_string(), None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    fixture.engine.apply_template(&parsed.template, "test").await?;
    Ok(fixture.engine.find_template(NAMESPACE, name, None).await?.context("not stored")?.template_id)
}

/// A task whose step `invoice` runs a child task.
async fn parent(fixture: &Fixture, context: Value) -> Result<Uuid> {
    let invoice = json!({ "name": "invoice", "task": { "template": "invoice", "context_from": "/order" } });
    let template_id = store(fixture, "parent", json!([invoice, step("after", &["invoice"])])).await?;
    let task = NewTask { priority: 4, ..NewTask::new(template_id, context) };
    let task_id = task.task_id;
    let outcome = fixture.engine.create_tasks(&[task]).await?;
    ensure!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
    Ok(task_id)
}

async fn detail(fixture: &Fixture, task: Uuid) -> Result<TaskDetail> {
    fixture.engine.get_task(task, true).await?.context("no task")
}

async fn invoices(fixture: &Fixture) -> Result<i64> {
    store(fixture, "invoice", json!([step("write", &[]), step("send", &["write"])])).await
}

#[tokio::test]
async fn a_step_runs_a_task_and_has_its_results() -> Result<()> {
    let fixture = Fixture::new().await?;
    invoices(&fixture).await?;
    let task = parent(&fixture, json!({ "order": { "number": 7 } })).await?;
    assert_eq!(detail(&fixture, task).await?.steps[0].status, StepState::Waiting);
    // Nobody misses a handler.
    let unserved = fixture.engine.unserved_handlers(None, 10).await?;
    assert_eq!(unserved.iter().map(|handler| handler.callable.as_str()).collect::<Vec<_>>(), ["test.step"]);
    assert_eq!(fixture.engine.other_callables(&[NAMESPACE.to_owned()], &["test.step"]).await?, Vec::<String>::new());
    // The child is a task like any other, with a part of the input and the priority of its parent.
    let write = fixture.claim_only("w").await?;
    assert_eq!((write.template_name.as_str(), &write.context), ("invoice", &json!({ "number": 7 })));
    let wait = fixture.engine.explain_wait(task, "invoice").await?.context("it does not wait")?;
    assert_eq!(wait, StepWait { signal: None, child: Some((write.task_id, TaskState::InProgress)) });
    let child = detail(&fixture, write.task_id).await?;
    assert_eq!(
        (child.summary.priority, child.summary.searchable),
        (4, Some([("/number".to_owned(), "7".to_owned())].into()))
    );
    let send = fixture.complete("w", 1, &[completed(&write)]).await?.handed.pop().context("nothing handed")?;
    fixture.complete("w", 0, &[completed(&send)]).await?;
    // Its end is a message. Whoever reads it completes the step.
    let after = match fixture.claim("w", 10).await?.pop() {
        Some(after) => after,
        None => fixture.claim_only("w").await?,
    };
    let expected = json!({ "task_uuid": write.task_id, "results": { "send": { "done": "send" } } });
    assert_eq!((after.step_name.as_str(), &after.dependency_results), ("after", &json!({ "invoice": expected })));
    fixture.complete("w", 0, &[completed(&after)]).await?;
    assert_eq!(detail(&fixture, task).await?.summary.status, TaskState::Completed);
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_child_that_fails_fails_its_step_and_a_retry_runs_another_child() -> Result<()> {
    let fixture = Fixture::new().await?;
    invoices(&fixture).await?;
    let task = parent(&fixture, json!({ "order": {} })).await?;
    let write = fixture.claim_only("w").await?;
    let error = StepOutcome::PermanentError(json!({ "kind": "test", "message": "intended failure" }));
    fixture.complete("w", 0, &[StepResult { step: write.step_ref(), outcome: error }]).await?;
    // A child that is blocked has not ended: an operator may retry it.
    assert!(fixture.claim("w", 10).await?.is_empty());
    assert_eq!(detail(&fixture, task).await?.summary.status, TaskState::Pending);
    fixture.engine.operate(write.task_id, &Operation::Fail, None, None).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    let failed = detail(&fixture, task).await?;
    assert_eq!((failed.summary.status, failed.steps[0].status), (TaskState::BlockedByFailures, StepState::Failed));
    assert_eq!(failed.steps[0].error.as_ref().context("no error")?["kind"], "child_failed");

    let retry = Operation::Retry { step: None };
    assert_eq!(fixture.engine.operate(task, &retry, None, None).await?, OperationOutcome::Done);
    let again = fixture.claim_only("w").await?;
    ensure!(again.task_id != write.task_id && again.step_name == "write", "{again:?}");
    let send = fixture.complete("w", 1, &[completed(&again)]).await?.handed.pop().context("nothing handed")?;
    fixture.complete("w", 0, &[completed(&send)]).await?;
    while let Some(after) = fixture.claim("w", 1).await?.pop() {
        fixture.complete("w", 0, &[completed(&after)]).await?;
    }
    while let Some(after) = fixture.claim("w", 1).await?.pop() {
        fixture.complete("w", 0, &[completed(&after)]).await?;
    }
    assert_eq!(detail(&fixture, task).await?.summary.status, TaskState::Completed);
    Ok(())
}

#[tokio::test]
async fn a_child_that_cannot_be_created_fails_its_step() -> Result<()> {
    for (context, kind) in [(json!({ "order": {} }), "no_template"), (json!({ "order": 1 }), "bad_child_input")] {
        let fixture = Fixture::new().await?;
        if kind == "bad_child_input" {
            invoices(&fixture).await?;
        }
        let task = parent(&fixture, context).await?;
        let failed = detail(&fixture, task).await?;
        assert_eq!(failed.steps[0].error.as_ref().context("no error")?["kind"], kind);
        assert_eq!(failed.summary.status, TaskState::BlockedByFailures);
    }
    Ok(())
}

#[tokio::test]
async fn the_child_of_a_cancelled_task_is_cancelled() -> Result<()> {
    let fixture = Fixture::new().await?;
    invoices(&fixture).await?;
    let task = parent(&fixture, json!({ "order": {} })).await?;
    let write = fixture.claim_only("w").await?;
    assert!(fixture.engine.end_orphans(10).await?.is_empty());
    fixture.engine.operate(task, &Operation::Cancel, None, None).await?;
    assert_eq!(fixture.engine.end_orphans(10).await?, [write.task_id]);
    assert_eq!(detail(&fixture, write.task_id).await?.summary.status, TaskState::Cancelled);
    // The message to the parent changes nothing.
    assert!(fixture.claim("w", 10).await?.is_empty());
    assert!(fixture.engine.end_orphans(10).await?.is_empty());
    Ok(())
}

/// Runs what can run, and returns the state of a task. The claim that finds the end of a child returns nothing.
async fn run(fixture: &Fixture, task: Uuid) -> Result<TaskState> {
    for _ in 0..2 {
        while let Some(step) = fixture.claim("w", 1).await?.pop() {
            fixture.complete("w", 0, &[completed(&step)]).await?;
        }
    }
    Ok(detail(fixture, task).await?.summary.status)
}

/// A template with a step that runs a task of the template itself, with the same input.
fn endless(gated: bool) -> Value {
    let mut steps = json!([with("again", &[], json!({ "task": { "template": "endless" } }))]);
    if gated {
        steps[0]["concurrency"] = json!({ "gate": "g", "limit": 1000 });
    }
    steps
}

#[tokio::test]
async fn a_template_that_runs_itself_has_an_end() -> Result<()> {
    for gated in [false, true] {
        let fixture = Fixture::new().await?;
        let template_id = store(&fixture, "endless", endless(gated)).await?;
        let task = fixture.create_task(template_id).await?;
        // A gate lets each claim create one child.
        for _ in 0..12 {
            assert!(fixture.claim("w", 10).await?.is_empty());
        }
        let children =
            fixture.value::<i64>("select count(*) from tasker.tasks where parent_task_id is not null").await?;
        assert_eq!(children, 10, "gated: {gated}");
        let errors = "select error ->> 'kind' from tasker.steps where error is not null";
        assert_eq!(fixture.values::<String>(errors).await?, ["too_deep"]);
        fixture.engine.operate(task, &Operation::Cancel, None, None).await?;
        // Each call ends the children of the tasks that the call before ended.
        for _ in 0..10 {
            assert_eq!(fixture.engine.end_orphans(100).await?.len(), 1);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_result_of_a_step_does_not_grow_without_a_limit() -> Result<()> {
    let fixture = Fixture::new().await?;
    let steps: Vec<_> = (0..9).map(|number| step(&format!("s{number}"), &[])).collect();
    store(&fixture, "invoice", Value::from(steps)).await?;
    let task = parent(&fixture, json!({ "order": {} })).await?;
    for written in fixture.claim("w", 10).await? {
        let outcome = StepOutcome::Completed(json!("x".repeat(1_000_000)));
        fixture.complete("w", 0, &[StepResult { step: written.step_ref(), outcome }]).await?;
    }
    assert_eq!(run(&fixture, task).await?, TaskState::Completed);
    let result = detail(&fixture, task).await?.steps.swap_remove(0).result.context("no result")?;
    assert_eq!(result["results"], json!({ "too_large": true }));
    Ok(())
}

#[tokio::test]
async fn a_child_is_kept_until_the_step_that_waits_for_it_has_seen_its_end() -> Result<()> {
    let fixture = Fixture::new().await?;
    store(&fixture, "invoice", json!([step("write", &[])])).await?;
    let task = parent(&fixture, json!({ "order": {} })).await?;
    let write = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[completed(&write)]).await?;
    // Nobody looks while the namespace is paused.
    let paused = |paused| PatchNamespace { paused: Some(paused), finished_tasks_days: None };
    fixture.engine.set_namespace(NAMESPACE, &paused(true)).await?;
    fixture.advance_clock(10 * 86_400_000).await?;
    let day = std::time::Duration::from_secs(86_400);
    assert_eq!(fixture.engine.delete_finished_tasks(NAMESPACE, day, None, 10).await?.tasks, 0);
    fixture.engine.set_namespace(NAMESPACE, &paused(false)).await?;
    assert_eq!(run(&fixture, task).await?, TaskState::Completed);
    fixture.advance_clock(10 * 86_400_000).await?;
    assert_eq!(fixture.engine.delete_finished_tasks(NAMESPACE, day, None, 10).await?.tasks, 2);
    Ok(())
}
