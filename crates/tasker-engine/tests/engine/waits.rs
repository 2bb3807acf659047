//! Steps that wait: for a time, for a signal, and with a checkpoint.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tasker_api::{StepState, TaskState};
use tasker_engine::{ClaimedStep, NewSignal, Operation, SignalOutcome, StepOutcome, StepResult, StepWait, Wait};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, completed, step};

/// a -> b, where `b` waits.
fn template(wait: Value) -> Value {
    let mut waiting = step("b", &["a"]);
    waiting["wait"] = wait;
    json!([step("a", &[]), waiting, step("c", &["b"])])
}

async fn started(fixture: &Fixture, wait: Value) -> Result<Uuid> {
    let task = fixture.create_task(fixture.store_template(NAMESPACE, template(wait)).await?).await?;
    let a = fixture.claim_only("w").await?;
    fixture.complete("w", 1, &[completed(&a)]).await?;
    Ok(task)
}

async fn states(fixture: &Fixture, task: Uuid) -> Result<(TaskState, Vec<StepState>)> {
    let detail = fixture.engine.get_task(task, false).await?.context("no task")?;
    Ok((detail.summary.status, detail.steps.iter().map(|step| step.status).collect()))
}

fn waits(step: &ClaimedStep, wait: Wait) -> StepResult {
    StepResult { step: step.step_ref(), outcome: StepOutcome::Waiting(wait) }
}

#[tokio::test]
async fn a_step_sleeps_for_the_time_of_its_template() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = started(&fixture, json!({ "delay_seconds": 3600 })).await?;
    assert_eq!(states(&fixture, task).await?.1[1], StepState::Waiting);
    fixture.advance_clock(3_599_000).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    fixture.advance_clock(1_000).await?;
    let b = fixture.claim_only("w").await?;
    assert_eq!((b.step_name.as_str(), b.attempt, b.input), ("b", 1, None));
    Ok(())
}

#[tokio::test]
async fn the_first_step_of_a_task_can_wait() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut first = step("a", &[]);
    first["wait"] = json!({ "signal": "go" });
    let task = fixture.create_task(fixture.store_template(NAMESPACE, json!([first])).await?).await?;
    assert_eq!(states(&fixture, task).await?, (TaskState::Pending, vec![StepState::Waiting]));
    let wait = fixture.engine.explain_wait(task, "a").await?;
    assert_eq!(wait, Some(StepWait { signal: Some("go".to_owned()), child: None }));
    assert_eq!(fixture.signal(task, "go", &json!(1), None).await?, SignalOutcome::Done);
    let a = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[completed(&a)]).await?;
    assert_eq!(states(&fixture, task).await?.0, TaskState::Completed);
    Ok(())
}

#[tokio::test]
async fn a_signal_ends_a_wait_and_an_early_one_is_kept() -> Result<()> {
    for early in [false, true] {
        let fixture = Fixture::new().await?;
        let task = fixture
            .create_task(fixture.store_template(NAMESPACE, template(json!({ "signal": "approved" }))).await?)
            .await?;
        let payload = json!({ "by": "ada" });
        if early {
            assert_eq!(fixture.signal(task, "approved", &payload, None).await?, SignalOutcome::Done);
        }
        let a = fixture.claim_only("w").await?;
        fixture.complete("w", 1, &[completed(&a)]).await?;
        if !early {
            // Nothing polls, and there is no message.
            assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 0);
            assert_eq!(fixture.signal(task, "other", &json!(1), None).await?, SignalOutcome::Done);
            assert!(fixture.claim("w", 10).await?.is_empty());
            assert_eq!(fixture.signal(task, "approved", &payload, Some("x")).await?, SignalOutcome::Done);
        }
        // The first signal of a name stays.
        assert_eq!(fixture.signal(task, "approved", &payload, None).await?, SignalOutcome::Repeated);
        assert_eq!(fixture.signal(task, "approved", &json!(2), None).await?, SignalOutcome::Conflict);
        let b = fixture.claim_only("w").await?;
        assert_eq!(b.input, Some(json!({ "signal": { "by": "ada" } })));
        fixture.complete("w", 0, &[completed(&b)]).await?;
        let c = fixture.claim_only("w").await?;
        fixture.complete("w", 0, &[completed(&c)]).await?;
        assert_eq!(fixture.signal(task, "late", &json!(1), None).await?, SignalOutcome::WrongState);
        assert_eq!(fixture.signal(Uuid::now_v7(), "x", &json!(1), None).await?, SignalOutcome::NotFound);
    }
    Ok(())
}

#[tokio::test]
async fn a_signal_that_does_not_arrive_does_what_the_template_says() -> Result<()> {
    for on_timeout in ["fail", "run", "skip"] {
        let fixture = Fixture::new().await?;
        let wait = json!({ "signal": "approved", "timeout_seconds": 60, "on_timeout": on_timeout });
        let task = started(&fixture, wait).await?;
        fixture.advance_clock(59_000).await?;
        assert!(fixture.claim("w", 10).await?.is_empty());
        fixture.advance_clock(1_000).await?;
        let claimed = fixture.claim("w", 10).await?;
        let (state, steps) = states(&fixture, task).await?;
        match on_timeout {
            "run" => {
                assert_eq!(claimed[0].input, Some(json!({ "timed_out": true })));
                assert_eq!(steps[1], StepState::InProgress);
            }
            "fail" => {
                assert_eq!((state, steps[1]), (TaskState::BlockedByFailures, StepState::Failed));
                // An operator can approve later.
                let resolve = Operation::Resolve { step: "b".into(), result: json!("approved by phone") };
                fixture.engine.operate(task, &resolve, None, None).await?;
                assert_eq!(fixture.claim_only("w").await?.step_name, "c");
            }
            _ => assert_eq!(
                (state, steps),
                (TaskState::Completed, vec![StepState::Completed, StepState::Skipped, StepState::Skipped,])
            ),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_handler_can_wait_and_keeps_its_checkpoint() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = fixture.create_task(fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?).await?;
    // A checkpoint continues at once, and counts no attempt.
    for row in 1..=5 {
        let a = fixture.claim_only("w").await?;
        let before = a.input.as_ref().map_or(json!(null), |input| input["checkpoint"].clone());
        assert_eq!((a.attempt, before), (1, if row == 1 { json!(null) } else { json!({ "row": row - 1 }) }));
        let wait = Wait { checkpoint: Some(json!({ "row": row })), ..Wait::default() };
        fixture.complete("w", 0, &[waits(&a, wait)]).await?;
    }
    // A crash loses nothing: the checkpoint is stored.
    let a = fixture.claim_only("w1").await?;
    fixture.advance_clock(31_000).await?;
    let again = fixture.claim_only("w2").await?;
    let received = |checkpoint: i32, part: [i32; 2], more: (&str, Value)| {
        let checkpoint = if checkpoint == 5 { json!({ "row": 5 }) } else { json!(checkpoint) };
        let part = json!({ "number": part[0], "attempt": part[1] });
        let mut input = json!({ "checkpoint": checkpoint, "part": part });
        if !more.0.is_empty() {
            input[more.0] = more.1;
        }
        Some(input)
    };
    let nothing = || ("", Value::Null);
    // The step has begun again five times, each time with the first attempt. The lost attempt counts.
    assert_eq!((again.attempt, again.input.clone()), (2, received(5, [5, 1], nothing())));
    assert_eq!(fixture.complete("w1", 0, &[waits(&a, Wait::default())]).await?.refused.len(), 1);
    // It sleeps, and keeps the checkpoint.
    let wait = Wait { delay: Some(Duration::from_secs(10)), ..Wait::default() };
    fixture.complete("w2", 0, &[waits(&again, wait)]).await?;
    assert_eq!(states(&fixture, task).await?.1, [StepState::Waiting]);
    assert!(fixture.claim("w", 10).await?.is_empty());
    fixture.advance_clock(10_000).await?;
    let a = fixture.claim_only("w").await?;
    assert_eq!((a.attempt, a.input.clone()), (2, received(5, [6, 2], nothing())));
    // It waits for a signal that does not arrive, and for one that has arrived.
    let wait = Wait { delay: Some(Duration::from_secs(10)), signal: Some("go".into()), checkpoint: Some(json!(6)) };
    fixture.complete("w", 0, &[waits(&a, wait.clone())]).await?;
    fixture.advance_clock(10_000).await?;
    let a = fixture.claim_only("w").await?;
    assert_eq!(a.input, received(6, [7, 2], ("timed_out", json!(true))));
    fixture.signal(task, "go", &json!("now"), None).await?;
    fixture.complete("w", 0, &[waits(&a, wait)]).await?;
    let a = fixture.claim_only("w").await?;
    assert_eq!(a.input, received(6, [8, 2], ("signal", json!("now"))));
    // A worker that stops releases it.
    let released = StepResult { step: a.step_ref(), outcome: StepOutcome::Released };
    fixture.complete("w", 0, &[released]).await?;
    let a = fixture.claim_only("w").await?;
    assert_eq!((a.attempt, a.input.clone()), (2, received(6, [9, 2], ("signal", json!("now")))));
    fixture.complete("w", 0, &[completed(&a)]).await?;
    assert_eq!(states(&fixture, task).await?.0, TaskState::Completed);
    Ok(())
}

#[tokio::test]
async fn a_waiting_step_can_be_cancelled_and_resolved() -> Result<()> {
    let fixture = Fixture::new().await?;
    let first = started(&fixture, json!({ "delay_seconds": 60 })).await?;
    fixture.engine.operate(first, &Operation::Cancel, None, None).await?;
    let second = started(&fixture, json!({ "delay_seconds": 60 })).await?;
    let resolve = Operation::Resolve { step: "b".into(), result: json!(1) };
    fixture.engine.operate(second, &resolve, None, None).await?;
    assert_eq!(fixture.claim_only("w").await?.step_name, "c");
    // The timers that are left change nothing.
    fixture.advance_clock(61_000).await?;
    let again = fixture.claim_only("w").await?;
    assert_eq!((again.task_id, again.step_name.as_str()), (second, "c"));
    assert_eq!(states(&fixture, first).await?.0, TaskState::Cancelled);
    Ok(())
}

#[tokio::test]
async fn a_batch_of_signals_is_like_one_after_the_other() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut ask = step("ask", &[]);
    ask["wait"] = json!({ "signal": "go" });
    let template = fixture.store_template(NAMESPACE, json!([ask])).await?;
    let tasks = [fixture.create_task(template).await?, fixture.create_task(template).await?];
    let [ended, nobody] = [fixture.create_task(template).await?, Uuid::now_v7()];
    fixture.engine.operate(ended, &Operation::Cancel, None, None).await?;
    let signal = |task_id: Uuid, name: &str, payload: i32| NewSignal {
        task_id,
        name: name.to_owned(),
        payload: json!(payload),
        actor: None,
    };
    let outcomes = fixture
        .engine
        .send_signals(&[
            signal(tasks[1], "go", 1),
            signal(tasks[0], "go", 2),
            signal(ended, "go", 1),
            signal(tasks[1], "go", 1),
            signal(tasks[0], "go", 3),
            signal(nobody, "go", 1),
            signal(tasks[0], "later", 4),
        ])
        .await?;
    assert_eq!(
        outcomes,
        [
            SignalOutcome::Done,
            SignalOutcome::Done,
            SignalOutcome::WrongState,
            SignalOutcome::Repeated,
            SignalOutcome::Conflict,
            SignalOutcome::NotFound,
            SignalOutcome::Done
        ]
    );
    let mut received = Vec::new();
    for step in fixture.claim("w", 10).await? {
        received.push((step.task_id, step.input.context("no input")?["signal"].clone()));
    }
    received.sort_by_key(|(task, _)| *task);
    assert_eq!(received, [(tasks[0], json!(2)), (tasks[1], json!(1))]);
    assert_eq!(fixture.values::<String>("select name from tasker.signals order by name").await?, ["go", "go", "later"]);
    Ok(())
}
