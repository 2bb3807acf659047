//! Retry policies.

use anyhow::Result;
use serde_json::json;
use tasker_api::TaskState;
use tasker_engine::{Operation, OperationOutcome};

use crate::bench::{Bench, NAMESPACE, failed, step};

#[tokio::test]
async fn the_delays_follow_the_policy_up_to_the_maximum_less_a_quarter_at_most() -> Result<()> {
    let bench = Bench::new().await?;
    for (backoff, delays) in [
        ("exponential", [100, 200, 400, 800, 1000, 1000]),
        ("linear", [100, 200, 300, 400, 500, 600]),
        ("fixed", [100, 100, 100, 100, 100, 100]),
    ] {
        for (attempt, most) in (1..).zip(delays) {
            for _ in 0..20 {
                let (ms,): (f64,) =
                    sqlx::query_as("select extract(epoch from tasker.backoff_delay($1, 100, 1000, $2))::float8 * 1000")
                        .bind(backoff)
                        .bind(attempt)
                        .fetch_one(&bench.pool)
                        .await?;
                let most = f64::from(most);
                assert!((0.75 * most - 0.01..=most + 0.01).contains(&ms), "{backoff}, attempt {attempt}: {ms} ms");
            }
        }
    }
    // Large numbers do not overflow.
    let longest: i64 = bench
        .value("select extract(epoch from tasker.backoff_delay('exponential', 604800000, 604800000, 100))::bigint")
        .await?;
    assert!(longest <= 604_800);
    Ok(())
}

#[tokio::test]
async fn a_step_waits_for_its_backoff_and_is_failed_when_no_attempt_is_left() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let task = bench.task(template).await?;
    for attempt in 1..=3 {
        let held = bench.start_one("w").await?;
        assert_eq!(held.attempt, attempt);
        bench.finish("w", 5, &[failed(&held)]).await?;
        bench.pass(749).await?;
        assert_eq!(bench.start("w", 10).await?, [], "before three quarters of the delay");
        bench.pass(251).await?;
    }
    let summary = bench.engine.get_task_summary(task).await?;
    assert_eq!(summary.map(|task| (task.status, task.failed_steps)), Some((TaskState::BlockedByFailures, 1)));
    assert_eq!(bench.start("w", 10).await?, []);

    let again = bench.engine.operate(task, &Operation::Retry { step: None }, Some("me"), None).await?;
    assert_eq!(again, OperationOutcome::Done);
    assert_eq!(bench.start_one("w").await?.attempt, 1);
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_was_lost_with_its_worker_counts() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = bench.task(template).await?;
    for attempt in 1..=3 {
        assert_eq!(bench.start_one("crashes").await?.attempt, attempt);
        bench.pass(30_000).await?;
    }
    assert_eq!(bench.start("w", 10).await?, []);
    let summary = bench.engine.get_task_summary(task).await?;
    assert_eq!(summary.map(|task| task.status), Some(TaskState::BlockedByFailures));
    let error: serde_json::Value = bench.value("select error from tasker.steps").await?;
    assert_eq!(error["kind"], "lease_ended");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("crashes")), "{error}");
    Ok(())
}
