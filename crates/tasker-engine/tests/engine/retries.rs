//! Retry policies.

use anyhow::Result;
use serde_json::json;
use tasker_api::TaskState;
use tasker_engine::{Operation, OperationOutcome, StepOutcome, StepResult};

use crate::fixture::{Fixture, NAMESPACE, failed, step};

#[tokio::test]
async fn retry_delays_follow_the_policy_with_up_to_a_quarter_of_jitter() -> Result<()> {
    let fixture = Fixture::new().await?;
    for (backoff, delays) in [
        ("exponential", [100, 200, 400, 800, 1000, 1000]),
        ("linear", [100, 200, 300, 400, 500, 600]),
        ("fixed", [100, 100, 100, 100, 100, 100]),
    ] {
        for (attempt, longest) in (1..).zip(delays) {
            for _ in 0..20 {
                let (ms,): (f64,) =
                    sqlx::query_as("select extract(epoch from tasker.backoff_delay($1, 100, 1000, $2))::float8 * 1000")
                        .bind(backoff)
                        .bind(attempt)
                        .fetch_one(&fixture.pool)
                        .await?;
                let longest = f64::from(longest);
                assert!(
                    (0.75 * longest - 0.01..=longest + 0.01).contains(&ms),
                    "{backoff}, attempt {attempt}: {ms} ms"
                );
            }
        }
    }
    // Large numbers do not overflow.
    let longest: i64 = fixture
        .value("select extract(epoch from tasker.backoff_delay('exponential', 604800000, 604800000, 100))::bigint")
        .await?;
    assert!(longest <= 604_800);
    Ok(())
}

#[tokio::test]
async fn a_step_waits_for_its_backoff_and_fails_after_its_last_attempt() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let task = fixture.create_task(template).await?;
    for attempt in 1..=3 {
        let held = fixture.claim_only("w").await?;
        assert_eq!(held.attempt, attempt);
        fixture.complete("w", 5, &[failed(&held)]).await?;
        fixture.advance_clock(749).await?;
        assert_eq!(fixture.claim("w", 10).await?, [], "the step started before three quarters of its delay");
        fixture.advance_clock(251).await?;
    }
    let summary = fixture.engine.get_task_summary(task).await?;
    assert_eq!(summary.map(|task| (task.status, task.failed_steps)), Some((TaskState::BlockedByFailures, 1)));
    assert_eq!(fixture.claim("w", 10).await?, []);

    let again = fixture.engine.operate(task, &Operation::Retry { step: None }, Some("operator"), None).await?;
    assert_eq!(again, OperationOutcome::Done);
    assert_eq!(fixture.claim_only("w").await?.attempt, 1);
    Ok(())
}

#[tokio::test]
async fn an_attempt_lost_with_its_worker_counts() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = fixture.create_task(template).await?;
    for attempt in 1..=3 {
        assert_eq!(fixture.claim_only("crashes").await?.attempt, attempt);
        fixture.advance_clock(30_000).await?;
    }
    assert_eq!(fixture.claim("w", 10).await?, []);
    let summary = fixture.engine.get_task_summary(task).await?;
    assert_eq!(summary.map(|task| task.status), Some(TaskState::BlockedByFailures));
    let error: serde_json::Value = fixture.value("select error from tasker.steps").await?;
    assert_eq!(error["kind"], "lease_ended");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("crashes")), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_handler_can_ask_for_the_delay_before_the_next_attempt() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    fixture.create_task(template).await?;
    for (asked, waits_ms) in [(json!(90_000), 90_000), (json!(0), 0)] {
        let claimed = fixture.claim_only("w").await?;
        let error = json!({ "kind": "busy", "message": "not now", "retry_after_ms": asked });
        let result = StepResult { step: claimed.step_ref(), outcome: StepOutcome::RetryableError(error) };
        fixture.complete("w", 0, &[result]).await?;
        if waits_ms > 0 {
            fixture.advance_clock(waits_ms - 1).await?;
            assert_eq!(fixture.claim("w", 1).await?, []);
            fixture.advance_clock(1).await?;
        }
    }
    assert_eq!(fixture.claim_only("w").await?.attempt, 3);
    Ok(())
}
