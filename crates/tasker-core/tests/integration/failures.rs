//! Handlers that fail: retries, backoff, exhaustion, permanent errors, time limits, panics.

use anyhow::{Context, Result};
use serde_json::json;
use tasker_api::{ListTasks, StepState, TaskState};
use tasker_client::OrchestrationApiClient;

use crate::support::{Stack, complete, fault_step, fault_template, run, step, task};

#[tokio::test]
async fn a_step_that_fails_twice_completes_in_the_third_attempt() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let steps = json!([fault_step("flaky", "faults.fail_times", json!({ "failures": 2 }))]);
    let name = fault_template(&api, &steps).await?;
    let done = complete(&api, &task("faults", &name, json!({}))).await?;
    assert_eq!(step(&done, "flaky")?.attempts, 3);

    // Each retry waited for its backoff of 50 ms, less up to a quarter.
    let history = api.list_transitions(done.summary.task_uuid).await?.transitions;
    let at = |to: &str| history.iter().filter(|t| t.step.is_some() && t.to == to).map(|t| t.at).collect::<Vec<_>>();
    let (failed, started) = (at("waiting_for_retry"), at("in_progress"));
    assert_eq!((failed.len(), started.len()), (2, 3));
    for (failed, started) in failed.iter().zip(&started[1..]) {
        assert!((*started - *failed).num_microseconds().context("overflow")? >= 37_500, "{history:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_task_whose_step_has_no_attempts_left_is_blocked() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let mut after = fault_step("after", "faults.echo", json!({}));
    after["dependencies"] = json!(["doomed"]);
    let steps = json!([fault_step("doomed", "faults.fail_times", json!({ "failures": 99 })), after]);
    let name = fault_template(&api, &steps).await?;
    let blocked = run(&api, &task("faults", &name, json!({}))).await?;
    assert_eq!(blocked.summary.status, TaskState::BlockedByFailures);
    assert_eq!(blocked.summary.failed_steps, 1);
    let doomed = step(&blocked, "doomed")?;
    assert_eq!((doomed.status, doomed.attempts), (StepState::Failed, 3));
    assert!(doomed.error.as_ref().is_some_and(|error| error["message"].is_string()), "{doomed:?}");
    assert_eq!(step(&blocked, "after")?.status, StepState::Pending);

    let filter = ListTasks {
        namespace: Some("faults".to_owned()),
        status: Some(TaskState::BlockedByFailures.to_string()),
        ..ListTasks::default()
    };
    let listed = api.list_tasks(&filter).await?.tasks;
    assert!(listed.iter().any(|task| task.task_uuid == blocked.summary.task_uuid));
    Ok(())
}

#[tokio::test]
async fn errors_that_are_permanent_or_not_retryable_take_one_attempt() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let mut once = fault_step("once", "faults.fail_times", json!({ "failures": 99 }));
    once["retry"]["retryable"] = json!(false);
    let steps = json!([fault_step("permanent", "faults.permanent", json!({})), once]);
    let name = fault_template(&api, &steps).await?;
    let blocked = run(&api, &task("faults", &name, json!({}))).await?;
    assert_eq!(blocked.summary.status, TaskState::BlockedByFailures);
    for name in ["permanent", "once"] {
        let step = step(&blocked, name)?;
        assert_eq!((step.status, step.attempts), (StepState::Failed, 1), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn time_limits_panics_and_missing_handlers_fail_with_a_clear_error() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let mut slow = fault_step("slow", "faults.sleep", json!({ "ms": 60_000 }));
    slow["timeout_seconds"] = json!(1);
    let mut steps = json!([
        slow,
        fault_step("panics", "faults.panic", json!({})),
        fault_step("unknown", "faults.no_such_handler", json!({})),
    ]);
    for step in steps.as_array_mut().context("an array")? {
        step["retry"]["limit"] = json!(1);
    }
    let name = fault_template(&api, &steps).await?;
    let blocked = run(&api, &task("faults", &name, json!({}))).await?;
    for (name, kind, words) in
        [("slow", "timeout", "1 s"), ("panics", "panic", "panic"), ("unknown", "no_handler", "faults.no_such_handler")]
    {
        let error = step(&blocked, name)?.error.clone().context("no error")?;
        assert_eq!(error["kind"], kind, "{error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(words)), "{error}");
    }
    Ok(())
}
