//! Claims, leases and their tokens.

use anyhow::Result;
use serde_json::json;
use tasker_api::{StepState, TaskState};
use tasker_engine::database::pool_options;
use tasker_engine::{Engine, Operation, OperationOutcome, StepOutcome, StepResult};

use crate::bench::{Bench, LEASE, NAMESPACE, completed, failed, step};

#[tokio::test]
async fn a_chain_is_handed_on_with_the_results_of_its_dependencies() -> Result<()> {
    let bench = Bench::new().await?;
    let template =
        bench.template(NAMESPACE, json!([step("a", &[]), step("b", &["a"]), step("c", &["a", "b"])])).await?;
    let task = bench.task(template).await?;
    let a = bench.start_one("w").await?;
    assert_eq!((a.step_name.as_str(), a.attempt, &a.dependency_results), ("a", 1, &json!({})));
    let b = bench.finish("w", 1, &[completed(&a)]).await?.handed.remove(0);
    assert_eq!((b.step_name.as_str(), &b.dependency_results), ("b", &json!({ "a": { "done": "a" } })));
    let c = bench.finish("w", 1, &[completed(&b)]).await?.handed.remove(0);
    assert_eq!(c.dependency_results, json!({ "a": { "done": "a" }, "b": { "done": "b" } }));
    bench.finish("w", 1, &[completed(&c)]).await?;
    let done = bench.engine.get_task_summary(task).await?.map(|task| (task.status, task.completed_steps));
    assert_eq!(done, Some((TaskState::Completed, 3)));
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_worker_is_handed_no_more_than_it_takes_and_only_of_its_namespaces() -> Result<()> {
    let bench = Bench::new().await?;
    let steps = json!([step("a", &[]), step("b", &["a"]), step("c", &["a"]), step("d", &["a"])]);
    let mine = bench.template(NAMESPACE, steps.clone()).await?;
    let other = bench.template("other", steps).await?;
    bench.task(mine).await?;
    let a = bench.start_one("w").await?;
    assert_eq!(bench.finish("w", 2, &[completed(&a)]).await?.handed.len(), 2);
    assert_eq!(bench.start("w", 10).await?.len(), 1);

    bench.task(other).await?;
    let both = [NAMESPACE.to_owned(), "other".to_owned()];
    let a = bench.engine.start_steps("w", &both, 10, LEASE, &[]).await?.remove(0);
    assert_eq!(bench.finish("w", 10, &[completed(&a)]).await?.handed, []);
    assert_eq!(bench.engine.start_steps("w", &both, 10, LEASE, &[]).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_lease_that_has_ended_gives_the_step_to_the_next_and_fences_the_late_result() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = bench.task(template).await?;
    let first = bench.start_one("slow").await?;
    bench.pass(29_999).await?;
    assert_eq!(bench.start("quick", 10).await?, []);
    bench.pass(1).await?;
    let second = bench.start_one("quick").await?;
    assert_eq!((second.attempt, second.token == first.token), (2, false));

    let late = bench.finish("slow", 0, &[completed(&first)]).await?;
    assert_eq!(late.refused, [(task, 0)]);
    assert_eq!(bench.finish("quick", 0, &[completed(&second)]).await?.refused, []);
    // A result that is sent again, as after a lost answer, does not count twice.
    assert_eq!(bench.finish("quick", 0, &[completed(&second)]).await?.refused, [(task, 0)]);
    assert_eq!(bench.engine.get_task_summary(task).await?.map(|task| task.completed_steps), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_late_result_counts_while_nobody_else_holds_the_step() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = bench.task(template).await?;
    let late = bench.start_one("slow").await?;
    bench.pass(60_000).await?;
    assert_eq!(bench.finish("slow", 0, &[completed(&late)]).await?.refused, []);
    assert_eq!(bench.engine.get_task_summary(task).await?.map(|task| task.status), Some(TaskState::Completed));
    Ok(())
}

#[tokio::test]
async fn a_heartbeat_keeps_the_lease_but_not_past_the_time_limit() -> Result<()> {
    let bench = Bench::new().await?;
    let mut limited = step("a", &[]);
    limited["timeout_seconds"] = json!(60);
    let template = bench.template(NAMESPACE, json!([limited])).await?;
    let task = bench.task(template).await?;
    let held = bench.start_one("w").await?;
    for _ in 0..3 {
        bench.pass(20_000).await?;
        assert_eq!(bench.engine.extend_leases(LEASE, &[held.step_ref()]).await?, [(task, 0)]);
        assert_eq!(bench.start("other", 10).await?, []);
    }
    // 60 s have passed: the lease ends 10 s after the time limit, however often the worker asks.
    bench.pass(10_000).await?;
    let taken = bench.start_one("other").await?;
    assert_eq!(taken.attempt, 2);
    assert_eq!(bench.engine.extend_leases(LEASE, &[held.step_ref()]).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_step_handed_back_is_there_at_once_and_has_lost_no_attempt() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    bench.task(template).await?;
    let held = bench.start_one("w").await?;
    let back = StepResult { step: held.step_ref(), outcome: StepOutcome::Released };
    bench.finish("w", 0, &[back]).await?;
    assert_eq!(bench.start_one("other").await?.attempt, 1);
    Ok(())
}

#[tokio::test]
async fn results_of_a_cancelled_task_are_refused_and_its_messages_go() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &[])])).await?;
    let task = bench.task(template).await?;
    let held = bench.start("w", 1).await?.remove(0);
    let cancelled = bench.engine.operate(task, &Operation::Cancel, None, None).await?;
    assert_eq!(cancelled, OperationOutcome::Done);
    assert_eq!(bench.finish("w", 5, &[completed(&held)]).await?.refused, [(task, held.step_no)]);
    bench.pass(60_000).await?;
    assert_eq!(bench.start("w", 10).await?, []);
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_step_resolved_while_it_waits_or_runs_is_not_run_again() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &["a"]), step("c", &["b"])])).await?;
    let task = bench.task(template).await?;
    let resolve = |step: &str| Operation::Resolve { step: step.to_owned(), result: json!("by hand") };
    // b while it is pending, then a while it runs.
    let held = bench.start_one("w").await?;
    assert_eq!(bench.engine.operate(task, &resolve("b"), None, None).await?, OperationOutcome::Done);
    assert_eq!(bench.engine.operate(task, &resolve("a"), None, None).await?, OperationOutcome::Done);
    assert_eq!(bench.finish("w", 5, &[failed(&held)]).await?.refused, [(task, 0)]);
    let c = bench.start_one("w").await?;
    assert_eq!((c.step_name.as_str(), &c.dependency_results), ("c", &json!({ "b": "by hand" })));
    bench.finish("w", 0, &[completed(&c)]).await?;
    let states: Vec<StepState> =
        bench.engine.list_steps(task).await?.unwrap_or_default().iter().map(|step| step.status).collect();
    assert_eq!(states, [StepState::ResolvedManually, StepState::ResolvedManually, StepState::Completed]);
    assert_eq!(bench.engine.get_task_summary(task).await?.map(|task| task.status), Some(TaskState::Completed));
    Ok(())
}

#[tokio::test]
async fn steps_are_handed_to_a_session_with_any_search_path() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let now: String = bench.value("select current_setting('tasker.now')").await?;
    // PostgreSQL names types of schema `tasker` with or without it, and the first entry of the default path is the user.
    for path in ["public", "tasker", "\"$user\", public"] {
        let options =
            (*bench.pool.connect_options()).clone().options([("tasker.now", now.as_str()), ("search_path", path)]);
        let engine = Engine::new(pool_options().max_connections(1).connect_with(options).await?);
        bench.task(template).await?;
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
