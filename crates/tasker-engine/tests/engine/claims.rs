//! Claims, leases and fencing tokens.

use anyhow::Result;
use serde_json::json;
use tasker_api::{StepState, TaskState};
use tasker_engine::database::pool_options;
use tasker_engine::{Engine, Operation, OperationOutcome, StepOutcome, StepResult};

use crate::fixture::{Fixture, LEASE, NAMESPACE, completed, failed, step};

#[tokio::test]
async fn each_step_of_a_chain_receives_the_results_of_its_dependencies() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template =
        fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"]), step("c", &["a", "b"])])).await?;
    let task = fixture.create_task(template).await?;
    let a = fixture.claim_only("w").await?;
    assert_eq!((a.step_name.as_str(), a.attempt, &a.dependency_results), ("a", 1, &json!({})));
    let b = fixture.complete("w", 1, &[completed(&a)]).await?.handed.remove(0);
    assert_eq!((b.step_name.as_str(), &b.dependency_results), ("b", &json!({ "a": { "done": "a" } })));
    let c = fixture.complete("w", 1, &[completed(&b)]).await?.handed.remove(0);
    assert_eq!(c.dependency_results, json!({ "a": { "done": "a" }, "b": { "done": "b" } }));
    fixture.complete("w", 1, &[completed(&c)]).await?;
    let done = fixture.engine.get_task_summary(task).await?.map(|task| (task.status, task.completed_steps));
    assert_eq!(done, Some((TaskState::Completed, 3)));
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_worker_is_handed_at_most_the_steps_it_requests_from_its_namespaces() -> Result<()> {
    let fixture = Fixture::new().await?;
    let steps = json!([step("a", &[]), step("b", &["a"]), step("c", &["a"]), step("d", &["a"])]);
    let mine = fixture.store_template(NAMESPACE, steps.clone()).await?;
    let other = fixture.store_template("other", steps).await?;
    fixture.create_task(mine).await?;
    let a = fixture.claim_only("w").await?;
    assert_eq!(fixture.complete("w", 2, &[completed(&a)]).await?.handed.len(), 2);
    assert_eq!(fixture.claim("w", 10).await?.len(), 1);

    fixture.create_task(other).await?;
    let both = [NAMESPACE.to_owned(), "other".to_owned()];
    let a = fixture.engine.start_steps("w", &both, 10, LEASE, &[]).await?.remove(0);
    assert_eq!(fixture.complete("w", 10, &[completed(&a)]).await?.handed, []);
    assert_eq!(fixture.engine.start_steps("w", &both, 10, LEASE, &[]).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn an_expired_lease_frees_the_step_and_the_late_result_is_refused() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = fixture.create_task(template).await?;
    let first = fixture.claim_only("slow").await?;
    fixture.advance_clock(29_999).await?;
    assert_eq!(fixture.claim("quick", 10).await?, []);
    fixture.advance_clock(1).await?;
    let second = fixture.claim_only("quick").await?;
    assert_eq!((second.attempt, second.token == first.token), (2, false));

    let late = fixture.complete("slow", 0, &[completed(&first)]).await?;
    assert_eq!(late.refused, [(task, 0)]);
    assert_eq!(fixture.complete("quick", 0, &[completed(&second)]).await?.refused, []);
    // A worker sends a result again if the response was lost. It does not count twice.
    assert_eq!(fixture.complete("quick", 0, &[completed(&second)]).await?.refused, [(task, 0)]);
    assert_eq!(fixture.engine.get_task_summary(task).await?.map(|task| task.completed_steps), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_late_result_is_accepted_while_no_other_worker_holds_the_step() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = fixture.create_task(template).await?;
    let late = fixture.claim_only("slow").await?;
    fixture.advance_clock(60_000).await?;
    assert_eq!(fixture.complete("slow", 0, &[completed(&late)]).await?.refused, []);
    assert_eq!(fixture.engine.get_task_summary(task).await?.map(|task| task.status), Some(TaskState::Completed));
    Ok(())
}

#[tokio::test]
async fn a_heartbeat_extends_the_lease_but_not_past_the_time_limit() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut limited = step("a", &[]);
    limited["timeout_seconds"] = json!(60);
    let template = fixture.store_template(NAMESPACE, json!([limited])).await?;
    let task = fixture.create_task(template).await?;
    let held = fixture.claim_only("w").await?;
    for _ in 0..3 {
        fixture.advance_clock(20_000).await?;
        assert_eq!(fixture.engine.extend_leases(LEASE, &[held.step_ref()]).await?, [(task, 0)]);
        assert_eq!(fixture.claim("other", 10).await?, []);
    }
    // 60 s have passed. The lease expires 10 s after the time limit, no matter how often the worker extends it.
    fixture.advance_clock(10_000).await?;
    let taken = fixture.claim_only("other").await?;
    assert_eq!(taken.attempt, 2);
    assert_eq!(fixture.engine.extend_leases(LEASE, &[held.step_ref()]).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_released_step_is_available_at_once_and_keeps_its_attempt() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    fixture.create_task(template).await?;
    let held = fixture.claim_only("w").await?;
    let released = StepResult { step: held.step_ref(), outcome: StepOutcome::Released };
    fixture.complete("w", 0, &[released]).await?;
    assert_eq!(fixture.claim_only("other").await?.attempt, 1);
    Ok(())
}

#[tokio::test]
async fn results_of_a_cancelled_task_are_refused_and_its_messages_are_deleted() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &[])])).await?;
    let task = fixture.create_task(template).await?;
    let held = fixture.claim("w", 1).await?.remove(0);
    let cancelled = fixture.engine.operate(task, &Operation::Cancel, None, None).await?;
    assert_eq!(cancelled, OperationOutcome::Done);
    assert_eq!(fixture.complete("w", 5, &[completed(&held)]).await?.refused, [(task, held.step_no)]);
    fixture.advance_clock(60_000).await?;
    assert_eq!(fixture.claim("w", 10).await?, []);
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_step_resolved_while_pending_or_running_does_not_run_again() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template =
        fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"]), step("c", &["b"])])).await?;
    let task = fixture.create_task(template).await?;
    let resolve = |step: &str| Operation::Resolve { step: step.to_owned(), result: json!("manual") };
    // The operator resolves b while it is pending, then a while it runs.
    let held = fixture.claim_only("w").await?;
    assert_eq!(fixture.engine.operate(task, &resolve("b"), None, None).await?, OperationOutcome::Done);
    assert_eq!(fixture.engine.operate(task, &resolve("a"), None, None).await?, OperationOutcome::Done);
    assert_eq!(fixture.complete("w", 5, &[failed(&held)]).await?.refused, [(task, 0)]);
    let c = fixture.claim_only("w").await?;
    assert_eq!((c.step_name.as_str(), &c.dependency_results), ("c", &json!({ "b": "manual" })));
    fixture.complete("w", 0, &[completed(&c)]).await?;
    let states: Vec<StepState> =
        fixture.engine.list_steps(task, true, None).await?.unwrap_or_default().iter().map(|step| step.status).collect();
    assert_eq!(states, [StepState::ResolvedManually, StepState::ResolvedManually, StepState::Completed]);
    assert_eq!(fixture.engine.get_task_summary(task).await?.map(|task| task.status), Some(TaskState::Completed));
    Ok(())
}

#[tokio::test]
async fn steps_are_handed_to_a_session_with_any_search_path() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let now: String = fixture.value("select current_setting('tasker.now')").await?;
    // PostgreSQL names types of schema `tasker` with or without it, and the first entry of the default path is the user.
    for path in ["public", "tasker", "\"$user\", public"] {
        let options =
            (*fixture.pool.connect_options()).clone().options([("tasker.now", now.as_str()), ("search_path", path)]);
        let engine = Engine::new(pool_options().max_connections(1).connect_with(options).await?);
        fixture.create_task(template).await?;
        let namespaces = [NAMESPACE.to_owned()];
        let first = engine.start_steps("w", &namespaces, 1, LEASE, &[None]).await?;
        let results: Vec<_> = first.iter().map(completed).collect();
        let handed = engine.complete_steps("w", &namespaces, 1, LEASE, &results).await?.handed;
        assert_eq!(handed.len(), 1, "{path}");
        let results: Vec<_> = handed.iter().map(completed).collect();
        assert_eq!(engine.complete_steps("w", &namespaces, 1, LEASE, &results).await?.refused, []);
    }
    Ok(())
}
