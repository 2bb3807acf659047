//! Workflows that take shape while they run: decisions, conditions, convergence, batches and maps.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tasker_api::{StepState, TaskDetail, TaskState};
use tasker_engine::{ClaimedStep, Operation, OperationOutcome, StepOutcome, StepResult};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, step, with};

fn result(step: &ClaimedStep, value: Value) -> StepResult {
    StepResult { step: step.step_ref(), outcome: StepOutcome::Completed(value) }
}

fn error(step: &ClaimedStep) -> StepResult {
    let error = json!({ "kind": "test", "message": "intended failure" });
    StepResult { step: step.step_ref(), outcome: StepOutcome::PermanentError(error) }
}

fn chooses(names: &[&str]) -> Value {
    match names {
        [] => json!({ "decision_point_outcome": { "type": "no_branches" } }),
        _ => json!({ "decision_point_outcome": { "type": "create_steps", "step_names": names } }),
    }
}

async fn detail(fixture: &Fixture, task: Uuid) -> Result<TaskDetail> {
    fixture.engine.get_task(task, true).await?.context("no task")
}

fn states(detail: &TaskDetail) -> BTreeMap<&str, StepState> {
    detail.steps.iter().map(|step| (step.name.as_str(), step.status)).collect()
}

/// The counters of every task say what its steps say.
async fn check_counters(fixture: &Fixture) -> Result<()> {
    let wrong: Vec<Uuid> = fixture
        .values(
            "select t.task_id from tasker.tasks t
             cross join lateral (
                 select count(*) as total,
                        count(*) filter (where s.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting')) as active,
                        count(*) filter (where s.state in ('completed', 'resolved_manually', 'skipped')) as settled
                 from tasker.steps s where s.task_id = t.task_id
             ) s
             where t.state <> 'cancelled'
               and (t.total_steps <> s.total or t.active_steps <> s.active or t.completed_steps < s.settled)",
        )
        .await?;
    ensure!(wrong.is_empty(), "wrong counters: {wrong:?}");
    Ok(())
}

/// check -> route (decision) -> auto | manual -> review; auto, review -> done (convergence)
fn order() -> Value {
    json!([
        step("check", &[]),
        with("route", &["check"], json!({ "type": "decision" })),
        step("auto", &["route"]),
        step("manual", &["route"]),
        step("review", &["manual"]),
        with("done", &["auto", "review"], json!({ "type": "deferred_convergence" })),
    ])
}

#[tokio::test]
async fn a_decision_runs_the_branches_that_it_names() -> Result<()> {
    for (chosen, expected) in [
        (vec!["auto"], vec!["auto"]),
        (vec!["review"], vec!["manual", "review"]),
        (vec!["auto", "manual"], vec!["auto", "manual", "review"]),
    ] {
        let fixture = Fixture::new().await?;
        let task = fixture.create_task(fixture.store_template(NAMESPACE, order()).await?).await?;
        let mut ran = BTreeSet::new();
        while let Some(claimed) = fixture.claim("w", 1).await?.pop() {
            let value = if claimed.step_name == "route" { chooses(&chosen) } else { json!(1) };
            fixture.complete("w", 0, &[result(&claimed, value)]).await?;
            check_counters(&fixture).await?;
            if claimed.step_name == "done" {
                let names: Vec<_> = claimed.dependency_results.as_object().context("no object")?.keys().collect();
                let branches: Vec<_> = expected.iter().filter(|name| **name != "manual").collect();
                assert_eq!(names, branches);
            }
            ran.insert(claimed.step_name);
        }
        let after = detail(&fixture, task).await?;
        assert_eq!(after.summary.status, TaskState::Completed, "{:?}", states(&after));
        let all: BTreeSet<_> = ["check", "route", "done"].into_iter().chain(expected.iter().copied()).collect();
        assert_eq!(ran.iter().map(String::as_str).collect::<BTreeSet<_>>(), all);
        for step in &after.steps {
            let state = if all.contains(step.name.as_str()) { StepState::Completed } else { StepState::Skipped };
            assert_eq!(step.status, state, "{}", step.name);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_decision_without_branches_ends_the_task_in_the_same_commit() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = fixture.create_task(fixture.store_template(NAMESPACE, order()).await?).await?;
    let check = fixture.claim_only("w").await?;
    // The decision is handed to the worker, as a step of any other workflow is.
    let route = fixture.complete("w", 1, &[result(&check, json!(1))]).await?.handed.pop().context("nothing handed")?;
    fixture.complete("w", 1, &[result(&route, chooses(&[]))]).await?;
    let after = detail(&fixture, task).await?;
    assert_eq!((after.summary.status, after.summary.completed_steps), (TaskState::Completed, 6));
    assert_eq!(states(&after)["done"], StepState::Skipped);
    Ok(())
}

#[tokio::test]
async fn a_decision_without_a_valid_outcome_fails() -> Result<()> {
    for bad in [
        json!(1),
        json!({}),
        json!({ "decision_point_outcome": 1 }),
        json!({ "decision_point_outcome": { "type": "all" } }),
        json!({ "decision_point_outcome": { "type": "create_steps" } }),
        json!({ "decision_point_outcome": { "type": "create_steps", "step_names": [] } }),
        json!({ "decision_point_outcome": { "type": "create_steps", "step_names": ["auto", null] } }),
        chooses(&["check"]),
        chooses(&["unknown"]),
    ] {
        let fixture = Fixture::new().await?;
        let task = fixture.create_task(fixture.store_template(NAMESPACE, order()).await?).await?;
        let check = fixture.claim_only("w").await?;
        fixture.complete("w", 0, &[result(&check, json!(1))]).await?;
        let route = fixture.claim_only("w").await?;
        fixture.complete("w", 0, &[result(&route, bad.clone())]).await?;
        let after = detail(&fixture, task).await?;
        assert_eq!(after.summary.status, TaskState::BlockedByFailures, "{bad}");
        let error = after.steps[1].error.clone().context("no error")?;
        assert_eq!(error["kind"], "bad_decision", "{bad}");

        // An operator's result passes the same check.
        let resolve = |result| Operation::Resolve { step: "route".into(), result };
        assert!(fixture.engine.operate(task, &resolve(bad), None, None).await.is_err());
        let outcome = fixture.engine.operate(task, &resolve(chooses(&[])), None, None).await?;
        assert_eq!(outcome, OperationOutcome::Done);
        assert_eq!(detail(&fixture, task).await?.summary.status, TaskState::Completed);
    }
    Ok(())
}

#[tokio::test]
async fn conditions_decide_whether_a_step_runs() -> Result<()> {
    let fixture = Fixture::new().await?;
    let when = |condition: Value| {
        let mut condition = condition;
        condition["step"] = json!("a");
        json!({ "when": [condition] })
    };
    let cases = [
        (json!({ "pointer": "/n", "equals": 5 }), true),
        (json!({ "pointer": "/n", "equals": "5" }), false),
        (json!({ "pointer": "/n", "not_equals": 5 }), false),
        (json!({ "pointer": "/missing", "not_equals": 5 }), true),
        (json!({ "pointer": "/n", "in": [1, 5] }), true),
        (json!({ "pointer": "/n", "less_than": 5 }), false),
        (json!({ "pointer": "/n", "at_most": 5 }), true),
        (json!({ "pointer": "/n", "greater_than": 4.5 }), true),
        (json!({ "pointer": "/n", "at_least": 6 }), false),
        (json!({ "pointer": "/text", "at_least": 0 }), false),
        (json!({ "pointer": "/nothing", "exists": true }), true),
        (json!({ "pointer": "/missing", "exists": false }), true),
        (json!({ "pointer": "/missing", "exists": true }), false),
        (json!({ "pointer": "/list/1", "equals": { "k": null } }), true),
    ];
    let mut steps = vec![step("a", &[])];
    for (number, (condition, _)) in cases.iter().enumerate() {
        steps.push(with(&format!("c{number}"), &["a"], when(condition.clone())));
    }
    let task = fixture.create_task(fixture.store_template(NAMESPACE, json!(steps)).await?).await?;
    let a = fixture.claim_only("w").await?;
    let value = json!({ "n": 5, "text": "x", "nothing": null, "list": [0, { "k": null }] });
    fixture.complete("w", 0, &[result(&a, value)]).await?;
    let after = detail(&fixture, task).await?;
    for (number, (condition, runs)) in cases.iter().enumerate() {
        let expected = if *runs { StepState::Enqueued } else { StepState::Skipped };
        assert_eq!(states(&after)[format!("c{number}").as_str()], expected, "{condition}");
    }
    Ok(())
}

/// A step's dependencies, and its kind: an ordinary step, a decision or a convergence.
type Shape = Vec<(Vec<usize>, u8)>;

/// The later steps that a decision names. Their bits are set in `choice`.
fn named(graph: &Shape, decision: usize, choice: u8) -> Vec<usize> {
    (decision + 1..graph.len())
        .filter(|later| choice >> (later % 8) & 1 == 1 && reaches(graph, decision, *later))
        .collect()
}

/// Whether `target` depends on `from`, directly or not.
fn reaches(graph: &Shape, from: usize, target: usize) -> bool {
    graph[target].0.iter().any(|dependency| *dependency == from || reaches(graph, from, *dependency))
}

/// The steps that do not run, by the rules alone.
fn skipped(graph: &Shape, choices: &[u8]) -> Vec<bool> {
    let mut skipped = vec![false; graph.len()];
    for (number, (dependencies, kind)) in graph.iter().enumerate() {
        let leads_here = |target: &usize| *target == number || reaches(graph, number, *target);
        let blocked = |dependency: &&usize| {
            let decides = graph[**dependency].1 == 1;
            skipped[**dependency]
                || decides && !named(graph, **dependency, choices[**dependency]).iter().any(leads_here)
        };
        let count = dependencies.iter().filter(blocked).count();
        skipped[number] = if *kind == 2 { count == dependencies.len() } else { count > 0 };
    }
    skipped
}

/// In every order of execution, exactly those steps are skipped that the rules name.
#[tokio::test(flavor = "multi_thread")]
async fn the_skipped_steps_are_a_function_of_graph_and_choices() -> Result<()> {
    let fixture = Fixture::new().await?;
    let strategy = (proptest::collection::vec((any::<u8>(), 0..3u8, any::<u8>()), 2..9), any::<u64>());
    let runtime = tokio::runtime::Handle::current();
    let number = std::cell::Cell::new(0);
    TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() }).run(
        &strategy,
        |(shape, order)| {
            number.set(number.get() + 1);
            let run = run_shape(&fixture, number.get(), &shape, order);
            tokio::task::block_in_place(|| runtime.block_on(run))
                .map_err(|error| TestCaseError::fail(format!("{error:#}")))
        },
    )?;
    Ok(())
}

async fn run_shape(fixture: &Fixture, number: usize, shape: &[(u8, u8, u8)], mut order: u64) -> Result<()> {
    let graph: Shape = shape
        .iter()
        .enumerate()
        .map(|(step, (edges, kind, _))| {
            let dependencies: Vec<_> = (0..step).filter(|earlier| edges >> earlier & 1 == 1).collect();
            let kind = if *kind == 2 && dependencies.is_empty() { 0 } else { *kind };
            (dependencies, kind)
        })
        .collect();
    let choices: Vec<u8> = shape.iter().map(|(_, _, choice)| *choice).collect();
    let names: Vec<String> = (0..graph.len()).map(|step| format!("s{step}")).collect();
    let steps: Vec<Value> = graph
        .iter()
        .enumerate()
        .map(|(step, (dependencies, kind))| {
            let dependencies: Vec<_> = dependencies.iter().map(|dependency| names[*dependency].as_str()).collect();
            let kind = ["standard", "decision", "deferred_convergence"][usize::from(*kind)];
            with(&names[step], &dependencies, json!({ "type": kind }))
        })
        .collect();
    let namespace = format!("shape_{number}");
    let task = fixture.create_task(fixture.store_template(&namespace, json!(steps)).await?).await?;
    let expected = skipped(&graph, &choices);
    loop {
        let mut claimed =
            fixture.engine.start_steps("w", std::slice::from_ref(&namespace), 10, crate::fixture::LEASE, &[]).await?;
        if claimed.is_empty() {
            break;
        }
        while !claimed.is_empty() {
            order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let step = claimed.remove(usize::try_from(order >> 33)? % claimed.len());
            let own = usize::try_from(step.step_no)?;
            let names: Vec<&str> =
                named(&graph, own, choices[own]).into_iter().map(|step| names[step].as_str()).collect();
            let value = if graph[own].1 == 1 { chooses(&names) } else { json!(own) };
            fixture.complete("w", 0, &[result(&step, value)]).await?;
        }
    }
    let after = detail(fixture, task).await?;
    ensure!(after.summary.status == TaskState::Completed, "{:?} {graph:?}", states(&after));
    for (step, skipped) in after.steps.iter().zip(expected) {
        ensure!(
            (step.status == StepState::Skipped) == skipped,
            "{} is {:?}: {graph:?} {choices:?}",
            step.name,
            step.status
        );
    }
    check_counters(fixture).await
}

fn mapped(strategy: &str, parallelism: u32) -> Value {
    let map = json!({ "step": "list", "pointer": "/items", "parallelism": parallelism, "failure_strategy": strategy });
    json!([step("list", &[]), with("each", &["list"], json!({ "map": map })), step("sum", &["each"])])
}

#[tokio::test]
async fn a_map_runs_one_child_for_each_element_and_joins_their_results_in_order() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = fixture.create_task(fixture.store_template(NAMESPACE, mapped("isolate", 3)).await?).await?;
    let list = fixture.claim_only("w").await?;
    let items: Vec<i64> = (0..10).map(|item| item * 10).collect();
    fixture.complete("w", 0, &[result(&list, json!({ "items": items, "unit": "cm" }))]).await?;
    check_counters(&fixture).await?;
    let mut ran = 0;
    loop {
        let mut claimed = fixture.claim("w", 100).await?;
        if claimed.first().is_none_or(|step| step.step_name == "sum") {
            assert_eq!(
                claimed.pop().context("no sum")?.dependency_results,
                json!({ "each": (0..10).map(|item| item * 20).collect::<Vec<_>>() })
            );
            break;
        }
        ensure!(claimed.len() <= 3, "more than three children are active");
        claimed.reverse();
        for child in claimed {
            let input = child.input.clone().context("no input")?;
            let item = input["item"].as_i64().context("no item")?;
            assert_eq!(child.step_name, format!("each_{}", input["index"]));
            assert_eq!(child.callable, "test.step");
            assert_eq!(child.dependency_results, json!({ "list": { "unit": "cm" } }));
            fixture.complete("w", 0, &[result(&child, json!(item * 2))]).await?;
            check_counters(&fixture).await?;
            ran += 1;
        }
    }
    assert_eq!(ran, 10);
    let after = detail(&fixture, task).await?;
    assert_eq!((after.summary.total_steps, after.summary.completed_steps), (13, 12));
    assert_eq!(after.steps[1].result, Some(json!({ "children": 10, "failed": 0 })));
    Ok(())
}

#[tokio::test]
async fn a_map_of_nothing_completes_at_once_and_a_map_of_no_list_fails() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, mapped("isolate", 3)).await?;
    fixture.create_task(template).await?;
    let list = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[result(&list, json!({ "items": [] }))]).await?;
    let sum = fixture.claim_only("w").await?;
    assert_eq!(sum.dependency_results, json!({ "each": [] }));

    let task = fixture.create_task(template).await?;
    let list = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[result(&list, json!({ "items": 1 }))]).await?;
    let after = detail(&fixture, task).await?;
    assert_eq!(after.summary.status, TaskState::BlockedByFailures);
    let expected = "the result of `list` has number at /items, where `map` expects a list";
    assert_eq!(after.steps[1].error, Some(json!({ "kind": "bad_map", "message": expected })));
    Ok(())
}

#[tokio::test]
async fn a_failed_child_does_what_the_failure_strategy_says() -> Result<()> {
    for strategy in ["continue_on_failure", "isolate", "fail_fast"] {
        let fixture = Fixture::new().await?;
        let task = fixture.create_task(fixture.store_template(NAMESPACE, mapped(strategy, 2)).await?).await?;
        let list = fixture.claim_only("w").await?;
        fixture.complete("w", 0, &[result(&list, json!({ "items": [0, 1, 2, 3] }))]).await?;
        let mut ran = Vec::new();
        let run = async |ran: &mut Vec<String>, fails: &str| -> Result<Option<ClaimedStep>> {
            while let Some(child) = fixture.claim("w", 1).await?.pop() {
                if child.step_name == "sum" {
                    return Ok(Some(child));
                }
                let outcome = if child.step_name == fails { error(&child) } else { result(&child, json!(1)) };
                fixture.complete("w", 0, &[outcome]).await?;
                ran.push(child.step_name);
            }
            Ok(None)
        };
        let sum = run(&mut ran, "each_0").await?;
        let before = detail(&fixture, task).await?;
        if strategy == "continue_on_failure" {
            let results = sum.context("no sum")?.dependency_results["each"].clone();
            assert_eq!((&results[0]["error"]["kind"], &results[1]), (&json!("test"), &json!(1)));
            assert_eq!(ran.len(), 4);
            continue;
        }
        ensure!(sum.is_none() && before.summary.status == TaskState::BlockedByFailures, "{strategy}: {before:?}");
        // One child was active beside the failed one. Only `isolate` starts the others.
        assert_eq!(ran.len(), if strategy == "isolate" { 4 } else { 2 }, "{strategy}: {ran:?}");
        let retry = Operation::Retry { step: Some("each_0".into()) };
        assert_eq!(fixture.engine.operate(task, &retry, None, None).await?, OperationOutcome::Done);
        check_counters(&fixture).await?;
        let sum = run(&mut ran, "none").await?.context("no sum")?;
        assert_eq!(sum.dependency_results["each"], json!([1, 1, 1, 1]));
        check_counters(&fixture).await?;
    }
    Ok(())
}

/// The group has counted such a child. Otherwise the task would count it twice, and complete too early.
#[tokio::test]
async fn a_child_whose_failure_is_tolerated_cannot_be_resolved() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = fixture.create_task(fixture.store_template(NAMESPACE, mapped("continue_on_failure", 1)).await?).await?;
    let list = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[result(&list, json!({ "items": [0, 1] }))]).await?;
    let child = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[error(&child)]).await?;
    let resolve = Operation::Resolve { step: child.step_name.clone(), result: json!("by hand") };
    let retry = Operation::Retry { step: Some(child.step_name) };
    for operation in [resolve, retry] {
        let outcome = fixture.engine.operate(task, &operation, None, None).await?;
        assert_eq!(outcome, OperationOutcome::WrongState("failed".to_owned()), "{operation:?}");
    }
    check_counters(&fixture).await
}

#[tokio::test]
async fn results_of_a_group_that_are_too_large_stay_where_they_are() -> Result<()> {
    let fixture = Fixture::new().await?;
    fixture.create_task(fixture.store_template(NAMESPACE, mapped("isolate", 10)).await?).await?;
    let list = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[result(&list, json!({ "items": vec![0; 9] }))]).await?;
    for child in fixture.claim("w", 10).await? {
        // PostgreSQL compresses it to a hundredth of its size.
        fixture.complete("w", 0, &[result(&child, json!("x".repeat(1_000_000)))]).await?;
    }
    let sum = fixture.claim_only("w").await?;
    assert_eq!(sum.dependency_results, json!({ "each": { "too_large": true, "children": 9 } }));
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_resolved_cancels_its_children() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = fixture.create_task(fixture.store_template(NAMESPACE, mapped("isolate", 2)).await?).await?;
    let list = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[result(&list, json!({ "items": [0, 1, 2, 3] }))]).await?;
    let child = fixture.claim_first("w").await?;
    let resolve = Operation::Resolve { step: "each".into(), result: json!("by hand") };
    assert_eq!(fixture.engine.operate(task, &resolve, None, None).await?, OperationOutcome::Done);
    let late = fixture.complete("w", 0, &[result(&child, json!(1))]).await?;
    assert_eq!(late.refused.len(), 1);
    let sum = fixture.claim_only("w").await?;
    assert_eq!(sum.dependency_results, json!({ "each": "by hand" }));
    fixture.complete("w", 0, &[result(&sum, json!(1))]).await?;
    assert_eq!(detail(&fixture, task).await?.summary.status, TaskState::Completed);
    Ok(())
}

fn batches() -> Value {
    let batch = json!({ "batch_size": 2, "parallelism": 2, "cursor_field": "id", "worker_template": "part" });
    json!([
        with(
            "split",
            &[],
            json!({
                "type": "batchable",
                "handler": { "callable": "test.split", "initialization": { "worker_template_name": "part" } },
            })
        ),
        with(
            "part",
            &["split"],
            json!({
                "type": "batch_worker", "batch_config": batch,
                "handler": { "callable": "test.part", "initialization": { "own": 1 } },
            })
        ),
        step("total", &["part"]),
    ])
}

#[tokio::test]
async fn an_analyzer_creates_the_batches_of_its_worker() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = fixture.create_task(fixture.store_template(NAMESPACE, batches()).await?).await?;
    let split = fixture.claim_only("w").await?;
    let config =
        |id: &str, from: u32| json!({ "batch_id": id, "start_cursor": from, "end_cursor": from + 2, "batch_size": 2 });
    let outcome = json!({ "batch_processing_outcome": {
        "type": "create_batches", "worker_template_name": "part", "worker_count": 3,
        "cursor_configs": [config("001", 0), config("002", 2), config("003", 4)], "total_items": 6,
    }});
    fixture.complete("w", 0, &[result(&split, outcome.clone())]).await?;
    for id in ["001", "002", "003"] {
        let part = fixture.claim_first("w").await?;
        assert_eq!((part.step_name.clone(), part.callable.as_str()), (format!("part_{id}"), "test.part"));
        assert_eq!(part.initialization["own"], 1);
        assert_eq!(part.initialization["cursor"]["batch_id"], *id);
        assert_eq!(part.initialization["is_no_op"], false);
        assert_eq!(part.initialization["batch_metadata"]["cursor_field"], "id");
        let analysis = &part.dependency_results["split"]["batch_processing_outcome"];
        assert_eq!((&analysis["total_items"], analysis.get("cursor_configs")), (&json!(6), None));
        fixture.complete("w", 0, &[result(&part, json!(id))]).await?;
    }
    let total = fixture.claim_only("w").await?;
    let expected = json!({ "part_001": "001", "part_002": "002", "part_003": "003", "split": outcome });
    assert_eq!(total.dependency_results, expected);
    fixture.complete("w", 0, &[result(&total, json!(1))]).await?;
    assert_eq!(detail(&fixture, task).await?.summary.status, TaskState::Completed);

    // Without batches, one batch runs that does nothing.
    fixture.create_task(fixture.store_template(NAMESPACE, batches()).await?).await?;
    let split = fixture.claim_only("w").await?;
    let nothing = json!({ "batch_processing_outcome": { "type": "no_batches" } });
    fixture.complete("w", 0, &[result(&split, nothing)]).await?;
    let part = fixture.claim_only("w").await?;
    assert_eq!((part.step_name.as_str(), &part.initialization["is_no_op"]), ("part_000", &json!(true)));
    Ok(())
}

#[tokio::test]
async fn a_batch_cannot_have_the_name_of_a_step() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut steps = batches();
    steps.as_array_mut().context("no list")?.push(step("part_001", &["split"]));
    let task = fixture.create_task(fixture.store_template(NAMESPACE, steps).await?).await?;
    let split = fixture.claim_only("w").await?;
    let outcome = json!({ "type": "create_batches", "cursor_configs": [{ "batch_id": "000" }, { "batch_id": "001" }] });
    fixture.complete("w", 0, &[result(&split, json!({ "batch_processing_outcome": outcome }))]).await?;
    let failed = detail(&fixture, task).await?.steps.swap_remove(0).error.context("no error")?;
    let expected = "`batch_processing_outcome.cursor_configs`: a step of the template is named `part_001`, like one of the \
                    batches";
    assert_eq!((&failed["kind"], &failed["message"]), (&json!("bad_batches"), &json!(expected)));
    Ok(())
}

#[tokio::test]
async fn an_expansion_whose_lease_was_lost_happens_once() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = fixture.create_task(fixture.store_template(NAMESPACE, mapped("isolate", 2)).await?).await?;
    let first = fixture.claim_only("w1").await?;
    fixture.advance_clock(31_000).await?;
    let second = fixture.claim_only("w2").await?;
    let items = json!({ "items": [1, 2] });
    fixture.complete("w2", 0, &[result(&second, items.clone())]).await?;
    assert_eq!(fixture.complete("w1", 0, &[result(&first, items)]).await?.refused.len(), 1);
    assert_eq!(detail(&fixture, task).await?.summary.total_steps, 5);
    Ok(())
}

#[tokio::test]
async fn a_fork_keeps_decisions_and_groups_that_do_not_depend_on_its_step() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut steps = order();
    let map = json!({ "step": "check", "pointer": "/items" });
    let extra = [with("each", &["check"], json!({ "map": map })), step("last", &["each", "done"])];
    steps.as_array_mut().context("no list")?.extend(extra);
    let task = fixture.create_task(fixture.store_template(NAMESPACE, steps).await?).await?;
    let run = async |until: Uuid| -> Result<BTreeSet<String>> {
        let mut ran = BTreeSet::new();
        while let Some(claimed) = fixture.claim("w", 1).await?.pop() {
            assert_eq!(claimed.task_id, until);
            let value = match claimed.step_name.as_str() {
                "check" => json!({ "items": [1, 2] }),
                "route" => chooses(&["auto"]),
                _ => json!(1),
            };
            fixture.complete("w", 0, &[result(&claimed, value)]).await?;
            ran.insert(claimed.step_name);
        }
        check_counters(&fixture).await?;
        Ok(ran)
    };
    run(task).await?;
    let whole = detail(&fixture, task).await?;
    assert_eq!(whole.summary.status, TaskState::Completed, "{:?}", states(&whole));
    for (from, again) in [
        ("last", vec!["last"]),
        ("route", vec!["auto", "done", "last", "route"]),
        ("auto", vec!["auto", "done", "last"]),
    ] {
        let fork = Uuid::now_v7();
        fixture.engine.fork_task(task, from, fork, None, None, None).await?;
        let ran = run(fork).await?;
        assert_eq!(ran.iter().map(String::as_str).collect::<Vec<_>>(), again);
        let copy = detail(&fixture, fork).await?;
        assert_eq!((copy.summary.status, states(&copy)), (TaskState::Completed, states(&whole)), "{from}");
    }
    Ok(())
}
