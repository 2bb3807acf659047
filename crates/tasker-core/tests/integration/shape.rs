//! Workflows that take shape while they run, over the API.

use anyhow::Result;
use serde_json::json;
use tasker_api::{GateDetail, OperatorAction, PatchGate, PatchGateRate, SendSignal, StepState, TaskState, WaitReason};
use tasker_client::{ClientError, OrchestrationApiClient};
use uuid::Uuid;

use crate::support::{DEADLINE, Stack, eventually, fault_step, fault_template, run, step, task};

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
    let step_with_child = json!({ "name": "child", "task": { "template": child, "context_from": "/order" } });
    let name = fault_template(&api, &json!([step_with_child])).await?;
    let done = run(&api, &task("faults", &name, json!({ "order": { "number": 7 } }))).await?;
    assert_eq!(done.summary.status, TaskState::Completed);
    let result = step(&done, "child")?.result.clone().unwrap_or_default();
    assert_eq!(result["results"], json!({ "echo": { "number": 7 } }));
    Ok(())
}

#[tokio::test]
async fn a_gate_shows_who_waits_and_a_higher_limit_lets_them_run() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    // The gate belongs to this test only, also on a stack that is shared.
    let gate = format!("gate {}", Uuid::now_v7());
    let mut pay = fault_step("pay", "faults.sleep", json!({ "ms": 60_000 }));
    pay["concurrency"] = json!({ "gate": gate, "key": "/account", "limit": 1 });
    let name = fault_template(&api, &json!([pay])).await?;
    let first = api.create_task(&task("faults", &name, json!({ "account": "a" }))).await?.task_uuid;
    let holding = async |count: i64| -> Result<GateDetail> {
        eventually("the steps run", async || {
            let found = api.get_gate("faults", &gate).await?;
            Ok((found.gate.holding == count).then_some(found))
        })
        .await
    };
    let found = holding(1).await?;
    assert_eq!((found.gate.limit, found.gate.template_limit), (Some(1), Some(1)));
    assert_eq!((found.holders[0].task_uuid, found.holders[0].key.as_deref()), (first, Some("a")));
    let second = api.create_task(&task("faults", &name, json!({ "account": "a" }))).await?.task_uuid;
    let why = eventually("the second one waits", async || {
        let step = api.inspect_step(second, "pay").await?;
        Ok(step.waiting.into_iter().find(|waiting| waiting.reason == WaitReason::Gate))
    })
    .await?;
    assert_eq!(why.message, format!("It waits for gate {gate}, key a, position 1. 1 of 1 slots are in use."));
    let other = api.create_task(&task("faults", &name, json!({ "account": "b" }))).await?.task_uuid;
    holding(2).await?;
    let listed = api.list_gates(Some("faults")).await?.gates;
    assert!(listed.iter().any(|listed| listed.name == gate && listed.waiting == 1), "{listed:?}");

    let change = PatchGate { limit: Some(Some(2)), rate: None };
    let changed = api.patch_gate("faults", &gate, &change).await?.gate;
    assert_eq!((changed.limit, changed.template_limit, changed.waiting), (Some(2), Some(1), 0));
    holding(3).await?;
    let rate = |limit, per_seconds, burst| Some(Some(PatchGateRate { limit, per_seconds, burst }));
    for wrong in [
        PatchGate { limit: Some(Some(100_001)), rate: None },
        PatchGate { limit: None, rate: rate(Some(1), Some(1), Some(2)) },
        // The gate has no rate yet.
        PatchGate { limit: None, rate: rate(Some(1), None, None) },
        PatchGate { limit: None, rate: rate(None, None, Some(1)) },
    ] {
        let refused = api.patch_gate("faults", &gate, &wrong).await;
        assert!(matches!(&refused, Err(ClientError::Problem(problem)) if problem.status == 400), "{refused:?}");
    }
    // What a change does not contain stays, and the burst follows the limit.
    for (change, expected) in [
        (rate(Some(10), Some(60), None), Some((10, 60, 10))),
        (rate(None, None, Some(4)), Some((10, 60, 4))),
        (rate(None, Some(30), None), Some((10, 30, 4))),
        (rate(Some(2), None, None), Some((2, 30, 2))),
        (rate(Some(20), None, None), Some((20, 30, 2))),
        (rate(None, None, None), Some((20, 30, 2))),
        (Some(None), None),
    ] {
        let changed = api.patch_gate("faults", &gate, &PatchGate { limit: None, rate: change }).await?.gate;
        let found = changed.rate.map(|rate| (rate.limit, rate.per_seconds, rate.burst));
        assert_eq!((found, changed.limit), (expected, Some(2)), "{change:?}");
        if expected == Some((10, 60, 10)) {
            let above = PatchGate { limit: None, rate: rate(None, None, Some(11)) };
            let refused = api.patch_gate("faults", &gate, &above).await;
            assert!(matches!(&refused, Err(ClientError::Problem(problem)) if problem.status == 400), "{refused:?}");
        }
    }
    let missing = api.get_gate("faults", "no such gate").await;
    assert!(matches!(&missing, Err(ClientError::Problem(problem)) if problem.status == 404), "{missing:?}");
    for task in [first, second, other] {
        api.cancel_task(task, &OperatorAction::default()).await?;
    }
    assert_eq!(holding(0).await?.gate.waiting, 0);
    Ok(())
}
