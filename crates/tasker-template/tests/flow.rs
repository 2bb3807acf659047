//! The fields with which a workflow takes shape while it runs: what they mean, and what is refused.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::{Value, json};
use tasker_template::{
    Comparison, DeliveryMode, EventCondition, FailureStrategy, Feature, OnTimeout, Parsed, StalenessAction,
    StepTemplate, StepType, TaskTemplate, Wait, parse,
};

const FLOW: &str = include_str!("../src/flow.yaml");

fn template(source: &str) -> TaskTemplate {
    parse(source, None).unwrap_or_else(|errors| panic!("refused:\n{errors}\n\n{source}")).template
}

fn step<'a>(template: &'a TaskTemplate, name: &str) -> &'a StepTemplate {
    template.steps.iter().find(|step| step.name == name).unwrap()
}

/// A step `a`, and a step `b` that depends on it and has these fields, from line 7 on.
fn with_fields(fields: &str) -> String {
    format!(
        "name: t\nnamespace_name: ns\nversion: 1.0.0\nsteps:\n  - {{ name: a, handler: {{ callable: c }} }}\n  \
         - {{ name: b, handler: {{ callable: c }}, dependencies: [a],\n      {fields} }}\n"
    )
}

#[track_caller]
fn refused(source: &str, expected: &str) {
    let errors = parse(source, None).expect_err("accepted").0;
    let errors: Vec<_> = errors.iter().map(|f| format!("{}: {}: {}", f.line, f.path, f.message)).collect();
    assert!(errors.len() == 1 && errors[0].contains(expected), "expected `{expected}`, got {errors:#?}");
}

#[test]
fn the_documented_template_is_decoded() {
    let template = template(FLOW);
    let lifecycle = template.lifecycle.clone().unwrap();
    assert_eq!(lifecycle.max_duration_minutes, Some(1440));
    assert_eq!(lifecycle.staleness_action, StalenessAction::Dlq);
    let step = |name: &str| step(&template, name);
    assert_eq!(step("check").step_type, StepType::Standard);
    assert_eq!(step("route").step_type, StepType::Decision);
    assert_eq!(step("decided").step_type, StepType::DeferredConvergence);
    let event = &step("check").events[0];
    assert_eq!((event.name.as_str(), event.condition), ("loan.checked", EventCondition::Success));
    assert_eq!((event.delivery_mode, event.schema.as_ref()), (DeliveryMode::Durable, Some(&json!({"type": "object"}))));
    assert_eq!(
        step("approve").wait,
        Some(Wait::Signal { signal: "approved".into(), timeout_seconds: Some(172_800), on_timeout: OnTimeout::Fail })
    );
    assert_eq!(step("refuse").wait, Some(Wait::Delay { delay_seconds: 86_400 }));
    let batch = step("score").batch_config.clone().unwrap();
    assert_eq!((batch.batch_size, batch.parallelism, batch.cursor_field.as_str()), (200, 5, "id"));
    assert_eq!(batch.failure_strategy, FailureStrategy::ContinueOnFailure);
    let map = step("notify").map.clone().unwrap();
    assert_eq!((map.step, map.path.tokens(), map.parallelism), (0, &["recipients".to_owned()][..], 100));
    let rate = step("notify").rate.clone().unwrap();
    assert_eq!((rate.gate.as_str(), rate.limit, rate.per_seconds, rate.burst), ("mailer", 100, 60, 10));
    let gate = step("pay").concurrency.clone().unwrap();
    assert_eq!((gate.gate.as_str(), gate.limit), ("account", 1));
    assert_eq!(gate.key.unwrap().tokens(), ["account_id"]);
    assert_eq!(step("invoice").handler, None);
    let child = step("invoice").task.clone().unwrap();
    assert_eq!(
        (child.template.as_str(), child.version, child.context_from.tokens()),
        ("invoice", None, &["order".to_owned()][..])
    );
}

#[test]
fn each_feature_that_the_engine_does_not_run_is_reported() {
    let Parsed { warnings, .. } = parse(FLOW, None).unwrap();
    let reported = |path: &str| warnings.iter().any(|warning| warning.path.ends_with(path));
    for (path, feature) in [
        ("steps[1].type", Feature::Decisions),
        ("steps[5].type", Feature::Decisions),
        (".when", Feature::Conditions),
        ("steps[7].type", Feature::Batches),
        (".batch_config", Feature::Batches),
        (".map", Feature::Maps),
        (".wait", Feature::Waits),
        (".concurrency", Feature::Concurrency),
        (".rate", Feature::Rate),
        (".task", Feature::ChildTasks),
        ("lifecycle.max_duration_minutes", Feature::TimeLimits),
        ("lifecycle.staleness_action", Feature::TimeLimits),
        ("lifecycle.max_waiting_for_retry_minutes", Feature::Staleness),
        (".publishes_events", Feature::Events),
        ("environments", Feature::Environments),
    ] {
        assert_eq!(reported(path), !feature.is_supported(), "{path}");
    }
    assert!(warnings.iter().all(|warning| warning.message.starts_with("has no effect: ")), "{warnings:#?}");
}

#[test]
fn a_template_keeps_these_fields_as_they_are_written() {
    let parsed = template(FLOW);
    assert_eq!(parsed.extra["lifecycle"]["max_duration_minutes"], 1440);
    assert_eq!(step(&parsed, "refuse").extra["wait"], json!({"delay_seconds": 86400}));
    assert_eq!(step(&parsed, "check").extra.get("type"), None, "a default is not added");
    assert_eq!(template(&serde_json::to_string(&parsed).unwrap()), parsed);
}

#[test]
fn every_comparison_is_read() {
    for (written, json) in [
        ("equals: 7", json!({"operator": "equals", "value": 7})),
        ("equals: null", json!({"operator": "equals", "value": null})),
        ("not_equals: x", json!({"operator": "not_equals", "value": "x"})),
        ("in: [a, 1]", json!({"operator": "in", "value": ["a", 1]})),
        ("less_than: 1.5", json!({"operator": "less_than", "value": 1.5})),
        ("at_most: 2", json!({"operator": "at_most", "value": 2})),
        ("greater_than: -1", json!({"operator": "greater_than", "value": -1})),
        ("at_least: 0", json!({"operator": "at_least", "value": 0})),
        ("exists: false", json!({"operator": "exists", "value": false})),
    ] {
        let template = template(&with_fields(&format!("when: [{{ step: a, pointer: /x~1y/~0z/0, {written} }}]")));
        let mut expected = json!({"step": 0, "path": ["x/y", "~z", "0"]});
        expected.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        assert_eq!(serde_json::to_value(&template.steps[1].when).unwrap(), json!([expected]));
    }
    let whole = template(&with_fields("when: [{ step: a, exists: true }]"));
    assert!(whole.steps[1].when[0].path.tokens().is_empty());
    assert_eq!(whole.steps[1].when[0].comparison, Comparison::Exists(true));
}

#[test]
fn a_step_that_runs_a_task_needs_no_handler() {
    let with_step =
        |fields: &str| format!("name: t\nnamespace_name: ns\nversion: 1.0.0\nsteps:\n  - {{ name: a, {fields} }}\n");
    let without = template(&with_step("task: { template: child }"));
    assert_eq!((&without.steps[0].handler, without.steps[0].callable()), (&None, ""));
    assert_eq!(template(&serde_json::to_string(&without).unwrap()), without);
    // Templates from before give one, and keep it.
    let Parsed { template: old, warnings } =
        parse(&with_step("task: { template: child }, handler: { callable: c }"), None).unwrap();
    assert_eq!(old.steps[0].callable(), "c");
    let warnings: Vec<_> = warnings.iter().map(|warning| (warning.path.as_str(), warning.message.as_str())).collect();
    assert_eq!(warnings, [("steps[0].handler", "has no effect: the step runs a task, and calls no handler")]);
    refused(&with_step("task: { template: child }, handler: {}"), "steps[0].handler.callable: `callable` is required");
    refused(&with_step("task: invoice"), "steps[0].task: expected a mapping, found a string");
    refused(&with_step("task: null"), "steps[0].handler: `handler` is required");
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    for (fields, expected) in [
        (
            "type: leaf",
            "7: steps[1].type: must be one of standard, decision, deferred_convergence, batchable, batch_worker",
        ),
        ("type: standard, step_type: standard", "steps[1].step_type: `step_type` is another name for `type`"),
        ("when: { step: a }", "steps[1].when: expected a list, found a mapping"),
        ("when: [{ step: c, equals: 1 }]", "steps[1].when[0].step: the step does not depend on `c`"),
        ("when: [{ step: a }]", "steps[1].when[0]: a condition has exactly one of equals"),
        ("when: [{ step: a, equals: 1, in: [1] }]", "a condition has exactly one of equals"),
        ("when: [{ step: a, pointer: x, equals: 1 }]", "must be a JSON pointer such as /order/total"),
        ("when: [{ step: a, pointer: /x~2, equals: 1 }]", "`~` in a JSON pointer must be written as ~0"),
        ("when: [{ step: a, at_least: '7' }]", "at_least: expected a number, found a string"),
        ("when: [{ step: a, in: [] }]", "expected a list with at least one value"),
        ("map: { step: a, pointer: /x, parallelism: 0 }", "parallelism: must be between 1 and 10000, not 0"),
        ("map: { step: b }", "the step does not depend on `b`"),
        ("map: { step: a, failure_strategy: ignore }", "must be one of continue_on_failure, fail_fast, isolate"),
        ("map: { step: a }, type: decision", "6: steps[1]: `map` and `type: decision` exclude each other"),
        ("wait: {}", "a wait has either `delay_seconds` or `signal`"),
        ("wait: { delay_seconds: 1, signal: s }", "a wait has either `delay_seconds` or `signal`"),
        ("wait: { delay_seconds: 31622401 }", "must be between 1 and 31622400"),
        ("wait: { delay_seconds: 1, on_timeout: run }", "wait.on_timeout: belongs to `signal`"),
        ("wait: { signal: s, on_timeout: run }", "has no effect without `timeout_seconds`"),
        ("wait: { signal: a/b }", "must be 1 to 128 ASCII letters"),
        ("concurrency: { gate: g }", "concurrency.limit: `limit` is required"),
        ("concurrency: { gate: g, key: id, limit: 1 }", "must be a JSON pointer"),
        ("rate: { gate: g, limit: 5, per_seconds: 1, burst: 6 }", "burst: must be between 1 and 5, not 6"),
        ("task: { context_from: /x }", "task.template: `template` is required"),
        ("batch_config: { worker_template: b }", "`batch_config` belongs to steps of `type: batchable`"),
        ("publishes_events: [{ name: e, condition: never }]", "must be one of success, failure, retryable_failure"),
        ("publishes_events: [{ name: e, schema: { type: objekt } }]", "not a valid JSON Schema"),
        ("type: batchable", "needs a step of `type: batch_worker` that depends on it"),
        ("type: batch_worker, batch_config: { worker_template: b }", "depends on one step, of `type: batchable`"),
    ] {
        refused(&with_fields(fields), expected);
    }
    let at_the_top = |fields: &str| format!("{fields}\n{}", with_fields("type: standard"));
    for (fields, expected) in [
        (
            "lifecycle: { max_duration_minutes: 43201 }",
            "1: lifecycle.max_duration_minutes: must be between 1 and 43200",
        ),
        ("lifecycle: { staleness_action: retry }", "must be one of dlq, error, none"),
        ("environments: [test]", "1: environments: expected a mapping, found a list"),
        ("environments: { test: { steps: [{ name: c }] } }", "environments.test.steps[0].name: no step is named `c`"),
    ] {
        refused(&at_the_top(fields), expected);
    }
}

#[test]
fn rules_between_steps_are_checked() {
    let with_steps = |steps: &str| format!("name: t\nnamespace_name: ns\nversion: 1.0.0\nsteps:\n{steps}");
    let batch = |worker: &str, written: &str| {
        with_steps(&format!(
            "  - {{ name: split, type: batchable, handler: {{ callable: c, initialization: {{ worker_template_name: \
             {written} }} }} }}\n  - {{ name: part, type: batch_worker, handler: {{ callable: c }}, dependencies: \
             [split]{worker} }}\n"
        ))
    };
    let config = ", batch_config: { worker_template: part }";
    template(&batch(config, "part"));
    refused(&batch("", "part"), "6: steps[1]: a step of `type: batch_worker` needs `batch_config`");
    refused(&batch(config, "prat"), "no batch worker that depends on this step is named `prat`; did you mean `part`?");
    refused(&batch(", batch_config: { worker_template: split }", "part"), "must be the step itself, `part`");
    refused(
        &with_steps("  - { name: a, type: deferred_convergence, handler: { callable: c } }\n"),
        "5: steps[0]: a step of `type: deferred_convergence` needs `dependencies`",
    );
    refused(
        &with_steps(
            "  - { name: a, handler: { callable: c }, concurrency: { gate: g, limit: 1 } }\n  - { name: b, handler: { \
             callable: c }, concurrency: { gate: g, limit: 2 } }\n",
        ),
        "6: steps[1]: an earlier step sets another limit for the gate `g`",
    );
    let after_a_map = |step: &str| {
        with_steps(&format!(
            "  - {{ name: list, handler: {{ callable: c }} }}\n  - {{ name: m, handler: {{ callable: c }}, dependencies: \
             [list], map: {{ step: list }} }}\n  - {{ handler: {{ callable: c }}, {step} }}\n"
        ))
    };
    template(&after_a_map("name: m_01"));
    refused(&after_a_map("name: m_1"), "7: steps[2]: the children of `m` have names like `m_1`; choose another name");
    refused(
        &after_a_map("name: n, dependencies: [m], map: { step: m }"),
        "7: steps[2]: `map` cannot use `m`, whose children have the results",
    );
}

#[test]
fn an_environment_changes_the_steps() {
    let source = "
name: t
namespace_name: ns
version: 1.0.0
environments:
  test:
    steps:
      - { name: ALL, timeout_seconds: 5, retry: { max_attempts: 2 } }
      - { name: b, timeout_seconds: 6, handler: { initialization: { mode: fake } } }
steps:
  - { name: a, handler: { callable: c }, retry: { limit: 9, backoff: fixed } }
  - { name: b, handler: { callable: c, initialization: { mode: real, size: 1 } } }
";
    let template = template(source);
    assert_eq!(template.steps_in("production"), template.steps);
    let steps = template.steps_in("test");
    assert_eq!((steps[0].timeout_seconds, steps[1].timeout_seconds), (5, 6));
    // As in the published format, the policy is replaced as a whole.
    assert_eq!((steps[0].retry.limit, steps[0].retry.backoff.as_str()), (2, "exponential"));
    assert_eq!(steps[1].handler.as_ref().unwrap().initialization, json!({"mode": "fake", "size": 1}));
    assert_eq!(steps[0].handler.as_ref().unwrap().initialization, Value::Object(serde_json::Map::new()));
}
