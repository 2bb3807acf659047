//! Investigations are opened once for each time that a task is blocked, and only record.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tasker_api::{DeadLetter, DeadLetterReason, ListDeadLetters, PatchDeadLetter, ResolutionStatus, TaskState};
use tasker_engine::{Operation, StepOutcome, StepResult};

use crate::fixture::{Fixture, NAMESPACE, step};

async fn list(fixture: &Fixture, resolution_status: Option<ResolutionStatus>) -> Result<Vec<DeadLetter>> {
    let filter = ListDeadLetters { resolution_status, ..ListDeadLetters::default() };
    Ok(fixture.engine.list_dead_letters(Some(&[NAMESPACE.to_owned()]), &filter, 50).await?)
}

/// Claims the only step and fails it for good.
async fn block(fixture: &Fixture) -> Result<()> {
    let step = fixture.claim_only("w").await?;
    let error = StepOutcome::PermanentError(json!({ "kind": "test", "message": "intended failure" }));
    fixture.complete("w", 0, &[StepResult { step: step.step_ref(), outcome: error }]).await?;
    Ok(())
}

fn to(status: ResolutionStatus) -> PatchDeadLetter {
    PatchDeadLetter { resolution_status: Some(status), ..PatchDeadLetter::default() }
}

#[tokio::test]
async fn a_blocked_task_is_investigated_once_each_time_that_it_is_blocked() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = fixture.create_task(template).await?;
    assert_eq!(fixture.engine.open_blocked_dead_letters(10).await?, 0, "the task is not blocked");
    block(&fixture).await?;
    assert_eq!(fixture.engine.open_blocked_dead_letters(10).await?, 1);
    assert_eq!(fixture.engine.open_blocked_dead_letters(10).await?, 0, "it is open already");
    let entry = list(&fixture, Some(ResolutionStatus::Pending)).await?.pop().context("nothing is open")?;
    assert_eq!((entry.task_uuid, entry.dlq_reason), (task, DeadLetterReason::MaxRetriesExceeded));
    assert_eq!(
        (entry.original_state, entry.current_state),
        (TaskState::BlockedByFailures, TaskState::BlockedByFailures)
    );

    // Closing the investigation does not change the task, which is not investigated again for the same failure.
    fixture.advance_clock(1000).await?;
    let closed = PatchDeadLetter {
        resolution_notes: Some("the bank was down".into()),
        metadata: json!({ "ticket": 7 }).as_object().cloned(),
        ..to(ResolutionStatus::ManuallyResolved)
    };
    ensure!(fixture.engine.patch_dead_letter(entry.dlq_entry_uuid, &closed, Some("ada")).await?);
    assert_eq!(fixture.engine.open_blocked_dead_letters(10).await?, 0);
    let entry = list(&fixture, Some(ResolutionStatus::ManuallyResolved)).await?.pop().context("nothing is closed")?;
    assert_eq!((entry.resolved_by.as_deref(), entry.resolved_at), (Some("ada"), Some(fixture.engine.now().await?)));
    assert_eq!(entry.current_state, TaskState::BlockedByFailures);

    // It is investigated again when it is blocked again.
    fixture.advance_clock(1000).await?;
    fixture.engine.operate(task, &Operation::Retry { step: None }, None, None).await?;
    block(&fixture).await?;
    assert_eq!(fixture.engine.open_blocked_dead_letters(10).await?, 1);
    assert_eq!(list(&fixture, None).await?.len(), 2);
    // The first one cannot be open at the same time.
    ensure!(!fixture.engine.patch_dead_letter(entry.dlq_entry_uuid, &to(ResolutionStatus::Pending), None).await?);
    Ok(())
}

#[tokio::test]
async fn an_operator_opens_one_investigation_and_can_reopen_it() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = fixture.create_task(template).await?;
    let (entry, is_new) = fixture.engine.open_dead_letter(task, Some("slow")).await?.context("no task")?;
    ensure!(is_new);
    assert_eq!(fixture.engine.open_dead_letter(task, None).await?, Some((entry, false)));
    ensure!(fixture.engine.patch_dead_letter(entry, &to(ResolutionStatus::Cancelled), None).await?);
    ensure!(fixture.engine.patch_dead_letter(entry, &to(ResolutionStatus::Pending), None).await?);
    let found = fixture.engine.get_dead_letter(entry).await?.context("no entry")?;
    assert_eq!((found.dlq_reason, found.resolution_status), (DeadLetterReason::ManualDlq, ResolutionStatus::Pending));
    assert_eq!((found.resolution_notes.as_deref(), found.resolved_at), (Some("slow"), None));
    assert_eq!(fixture.engine.open_dead_letter(uuid::Uuid::now_v7(), None).await?, None);
    Ok(())
}
