//! Workflows that take shape while they run, over the API.

use anyhow::Result;
use serde_json::json;
use tasker_api::{SendSignal, StepState, TaskState};
use tasker_client::{ClientError, OrchestrationApiClient};

use crate::support::{DEADLINE, Stack, fault_step, fault_template, run, step, task};

#[tokio::test]
async fn a_decision_chooses_a_branch_and_a_map_runs_once_for_each_element() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let after = |name: &str, dependencies: &[&str]| {
        let mut step = fault_step(name, "faults.echo", json!({}));
        step["dependencies"] = json!(dependencies);
        step
    };
    let mut route = after("route", &[]);
    route["type"] = json!("decision");
    let mut each = after("each", &["left"]);
    each["map"] = json!({ "step": "left", "pointer": "/items", "parallelism": 2 });
    let mut join = after("join", &["each", "right"]);
    join["type"] = json!("deferred_convergence");
    let steps = json!([route, after("left", &["route"]), after("right", &["route"]), each, join]);
    let name = fault_template(&api, &steps).await?;
    let input = json!({
        "decision_point_outcome": { "type": "create_steps", "step_names": ["left"] },
        "items": [1, 2, 3, 4, 5],
    });
    let done = run(&api, &task("faults", &name, input)).await?;
    assert_eq!(done.summary.status, TaskState::Completed);
    assert_eq!((done.summary.total_steps, done.summary.completed_steps), (10, 10));
    assert_eq!(step(&done, "right")?.status, StepState::Skipped);
    assert_eq!(step(&done, "each_4")?.status, StepState::Completed);
    assert_eq!(step(&done, "each")?.result, Some(json!({ "children": 5, "failed": 0 })));
    Ok(())
}

#[tokio::test]
async fn a_signal_lets_a_waiting_step_continue() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let mut approve = fault_step("approve", "faults.echo", json!({}));
    approve["wait"] = json!({ "signal": "approved" });
    let mut pause = fault_step("pause", "faults.echo", json!({}));
    pause["dependencies"] = json!(["approve"]);
    pause["wait"] = json!({ "delay_seconds": 1 });
    let name = fault_template(&api, &json!([approve, pause])).await?;
    let created = api.create_task(&task("faults", &name, json!({ "n": 1 }))).await?;
    let id = created.task_uuid;
    let before = api.get_task(id).await?;
    assert_eq!(step(&before, "approve")?.status, StepState::Waiting);
    let signal = |by: &str| SendSignal { payload: json!({ "by": by }), actor: None };
    api.send_signal(id, "approved", &signal("ada")).await?;
    // Sent again it changes nothing. The first one stays.
    api.send_signal(id, "approved", &signal("ada")).await?;
    let other = api.send_signal(id, "approved", &signal("bob")).await;
    assert!(matches!(&other, Err(ClientError::Problem(problem)) if problem.status == 409), "{other:?}");
    let done = api.wait_for_task(id, DEADLINE).await?;
    assert_eq!(done.summary.status, TaskState::Completed);
    Ok(())
}

#[tokio::test]
async fn a_step_runs_a_task_and_completes_with_it() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let child = fault_template(&api, &json!([fault_step("echo", "faults.echo", json!({}))])).await?;
    let mut step_with_child = fault_step("child", "faults.echo", json!({}));
    step_with_child["task"] = json!({ "template": child, "context_from": "/order" });
    let name = fault_template(&api, &json!([step_with_child])).await?;
    let done = run(&api, &task("faults", &name, json!({ "order": { "number": 7 } }))).await?;
    assert_eq!(done.summary.status, TaskState::Completed);
    let result = step(&done, "child")?.result.clone().unwrap_or_default();
    assert_eq!(result["results"], json!({ "echo": { "number": 7 } }));
    Ok(())
}
