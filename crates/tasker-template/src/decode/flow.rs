//! Decodes the parts of a template with which a workflow takes shape while it runs, and checks their rules.
//!
//! Every field here is read with [`Fields::kept`]: the template also keeps it as written.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use tasker_api::limits::{
    MAX_BATCH_SIZE, MAX_CONDITIONS, MAX_EVENTS, MAX_GATE_LIMIT, MAX_LIFECYCLE_MINUTES, MAX_NAME_CHARS, MAX_PARALLELISM,
    MAX_POINTER_CHARS, MAX_TASK_MINUTES, MAX_TIMEOUT_SECONDS, MAX_VERSION_CHARS, MAX_WAIT_SECONDS,
};

use super::{line, retry_policy, schema, text};
use crate::feature::Feature;
use crate::fields::{Field, Fields, did_you_mean};
use crate::finding::{Position, Report};
use crate::flow::{
    BatchConfig, ChildTask, Comparison, Concurrency, Condition, DeliveryMode, Environment, Event, EventCondition,
    FailureStrategy, Lifecycle, MapConfig, OnTimeout, Pointer, Rate, StalenessAction, StepOverride, StepType, Wait,
};
use crate::graph::Graph;
use crate::published;
use crate::template::StepTemplate;

/// What the steps of a template are called, and which of them a step depends on.
pub(super) struct Names<'a> {
    pub(super) numbers: &'a HashMap<String, u16>,
    pub(super) dependencies: &'a [String],
}

/// Reads the fields of a step into `step`.
pub(super) fn step(step: &mut StepTemplate, fields: &mut Fields, names: &Names<'_>, report: &mut Report<'_>) {
    step.step_type = step_type(fields, report);
    step.when = fields.kept("when").and_then(|field| conditions(field, names, report)).unwrap_or_default();
    step.batch_config = fields.kept("batch_config").and_then(|field| batch_config(field, report));
    step.map = fields.kept("map").and_then(|field| map(field, names, report));
    step.wait = fields.kept("wait").and_then(|field| wait(field, report));
    step.concurrency = fields.kept("concurrency").and_then(|field| concurrency(field, report));
    step.rate = fields.kept("rate").and_then(|field| rate(field, report));
    step.task = fields.kept("task").and_then(|field| child_task(field, report));
    step.events = fields.kept("publishes_events").and_then(|field| events(field, report)).unwrap_or_default();
}

fn step_type(fields: &mut Fields, report: &mut Report<'_>) -> StepType {
    let (first, second) = (fields.kept("type"), fields.kept("step_type"));
    if let (Some(_), Some(second)) = (&first, &second) {
        second.error("`step_type` is another name for `type`; keep one of them", report);
    }
    let Some(field) = first.or(second) else { return StepType::Standard };
    let step_type = field.one_of(&StepType::ALL.map(|t| (t.as_str(), t)), report).unwrap_or_default();
    let feature = match step_type {
        StepType::Standard => return step_type,
        StepType::Decision | StepType::DeferredConvergence => Feature::Decisions,
        StepType::Batchable | StepType::BatchWorker => Feature::Batches,
    };
    if !feature.is_supported() {
        let instead = Feature::Decisions.instead();
        report.warn(field.node.at, &field.path, format!("has no effect: {instead}"));
    }
    step_type
}

/// Reads the name of a dependency of the step.
fn dependency(field: Option<Field>, names: &Names<'_>, report: &mut Report<'_>) -> Option<u16> {
    let field = field?;
    let name = field.text(report)?;
    if !names.dependencies.iter().any(|dependency| dependency == name) {
        let hint = did_you_mean(name, names.dependencies.iter().map(String::as_str));
        field.error(format!("the step does not depend on `{name}`; add it to `dependencies`{hint}"), report);
        return None;
    }
    // An unknown dependency is reported where it is listed.
    names.numbers.get(name).copied()
}

fn pointer(field: Option<Field>, report: &mut Report<'_>) -> Pointer {
    let Some(field) = field else { return Pointer::default() };
    let Some(text) = field.text(report) else { return Pointer::default() };
    if text.chars().count() > MAX_POINTER_CHARS {
        field.error(format!("a JSON pointer may have up to {MAX_POINTER_CHARS} characters"), report);
    }
    if !text.is_empty() && !text.starts_with('/') {
        field.error("must be a JSON pointer such as /order/total, or empty for the whole value", report);
    }
    if text.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
        field.error("`~` in a JSON pointer must be written as ~0, and `/` in a key as ~1", report);
    }
    let tokens = text.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"));
    Pointer(tokens.collect())
}

fn integer(
    fields: &mut Fields,
    name: &'static str,
    range: std::ops::RangeInclusive<u32>,
    report: &mut Report<'_>,
) -> Option<u32> {
    fields.optional(name).and_then(|field| field.integer(range, report))
}

fn required_integer(fields: &mut Fields, name: &'static str, max: u32, report: &mut Report<'_>) -> u32 {
    fields.required(name, report).and_then(|field| field.integer(1..=max, report)).unwrap_or(1)
}

/// A required name of a template, a gate and the like.
fn name(fields: &mut Fields, name: &'static str, report: &mut Report<'_>) -> String {
    fields.required(name, report).and_then(|field| line(&field, MAX_NAME_CHARS, report)).unwrap_or_default()
}

fn conditions(field: Field, names: &Names<'_>, report: &mut Report<'_>) -> Option<Vec<Condition>> {
    let (at, path) = (field.node.at, field.path.clone());
    let items = field.list(report)?;
    if items.len() > MAX_CONDITIONS {
        report.error(at, &path, format!("may have up to {MAX_CONDITIONS} conditions, not {}", items.len()));
    }
    Some(items.into_iter().filter_map(|item| condition(item, names, report)).collect())
}

fn condition(field: Field, names: &Names<'_>, report: &mut Report<'_>) -> Option<Condition> {
    const OPERATORS: [&str; 8] =
        ["equals", "not_equals", "in", "less_than", "at_most", "greater_than", "at_least", "exists"];
    let mut fields = field.fields(report)?;
    let (at, path) = (fields.at, fields.path.clone());
    let required = fields.required("step", report);
    let step = dependency(required, names, report);
    let pointer = pointer(fields.optional("pointer"), report);
    let mut written: Vec<(&str, Field)> =
        OPERATORS.into_iter().filter_map(|operator| Some((operator, fields.present(operator)?))).collect();
    fields.rest(&[], report);
    let (Some((operator, operand)), None) = (written.pop(), written.pop()) else {
        report.error(at, &path, format!("a condition has exactly one of {}", OPERATORS.join(", ")));
        return None;
    };
    let comparison = comparison(operator, operand, report)?;
    Some(Condition { step: step?, path: pointer, comparison })
}

fn comparison(operator: &str, operand: Field, report: &mut Report<'_>) -> Option<Comparison> {
    Some(match operator {
        "equals" => Comparison::Equals(operand.node.to_json()),
        "not_equals" => Comparison::NotEquals(operand.node.to_json()),
        "in" => match operand.node.to_json() {
            Value::Array(values) if !values.is_empty() => Comparison::In(values),
            _ => {
                operand.error("expected a list with at least one value", report);
                return None;
            }
        },
        "exists" => Comparison::Exists(operand.boolean(report)?),
        "less_than" => Comparison::LessThan(number(&operand, report)?),
        "at_most" => Comparison::AtMost(number(&operand, report)?),
        "greater_than" => Comparison::GreaterThan(number(&operand, report)?),
        _ => Comparison::AtLeast(number(&operand, report)?),
    })
}

fn number(field: &Field, report: &mut Report<'_>) -> Option<Number> {
    if let Value::Number(number) = field.node.to_json() {
        return Some(number);
    }
    field.expected("a number", report);
    None
}

fn failure_strategy(fields: &mut Fields, default: FailureStrategy, report: &mut Report<'_>) -> FailureStrategy {
    let names = FailureStrategy::ALL.map(|strategy| (strategy.as_str(), strategy));
    fields.optional("failure_strategy").and_then(|field| field.one_of(&names, report)).unwrap_or(default)
}

fn batch_config(field: Field, report: &mut Report<'_>) -> Option<BatchConfig> {
    let mut fields = field.fields(report)?;
    let config = BatchConfig {
        batch_size: integer(&mut fields, "batch_size", 1..=MAX_BATCH_SIZE, report).unwrap_or(1000),
        parallelism: integer(&mut fields, "parallelism", 1..=MAX_PARALLELISM, report).unwrap_or(10),
        cursor_field: text(fields.optional("cursor_field"), report).unwrap_or_else(|| "id".to_owned()),
        worker_template: name(&mut fields, "worker_template", report),
        failure_strategy: failure_strategy(&mut fields, FailureStrategy::ContinueOnFailure, report),
    };
    if let Some(field) = fields.optional("checkpoint_interval") {
        report.warn(field.node.at, &field.path, "has no effect: the handler decides when it makes a checkpoint");
    }
    fields.rest(&[], report);
    Some(config)
}

fn map(field: Field, names: &Names<'_>, report: &mut Report<'_>) -> Option<MapConfig> {
    let mut fields = field.fields(report)?;
    let required = fields.required("step", report);
    let step = dependency(required, names, report);
    let path = pointer(fields.optional("pointer"), report);
    let parallelism = integer(&mut fields, "parallelism", 1..=MAX_PARALLELISM, report).unwrap_or(100);
    let failure_strategy = failure_strategy(&mut fields, FailureStrategy::Isolate, report);
    fields.rest(&[], report);
    Some(MapConfig { step: step?, path, parallelism, failure_strategy })
}

fn wait(field: Field, report: &mut Report<'_>) -> Option<Wait> {
    let mut fields = field.fields(report)?;
    let (at, path) = (fields.at, fields.path.clone());
    let delay = fields.optional("delay_seconds");
    let signal = fields.optional("signal");
    let timeout = fields.optional("timeout_seconds");
    let on_timeout = fields.optional("on_timeout");
    fields.rest(&[], report);
    let timeout_seconds = timeout.as_ref().and_then(|field| field.integer(1..=MAX_WAIT_SECONDS, report));
    let action = on_timeout.as_ref().and_then(|field| {
        let names = [("fail", OnTimeout::Fail), ("run", OnTimeout::Run), ("skip", OnTimeout::Skip)];
        field.one_of(&names, report)
    });
    match (delay, signal) {
        (Some(delay), None) => {
            for field in timeout.iter().chain(&on_timeout) {
                field.error("belongs to `signal`; a delay has no other end", report);
            }
            Some(Wait::Delay { delay_seconds: delay.integer(1..=MAX_WAIT_SECONDS, report)? })
        }
        (None, Some(signal)) => {
            if let Some(field) = on_timeout.filter(|_| timeout.is_none()) {
                field.error("has no effect without `timeout_seconds`; add it", report);
            }
            let signal = signal_name(&signal, report)?;
            Some(Wait::Signal { signal, timeout_seconds, on_timeout: action.unwrap_or(OnTimeout::Fail) })
        }
        _ => {
            report.error(at, &path, "a wait has either `delay_seconds` or `signal`");
            None
        }
    }
}

/// Signals are sent to `/v1/tasks/{id}/signals/{name}`, so their names are plain.
fn signal_name(field: &Field, report: &mut Report<'_>) -> Option<String> {
    let name = field.text(report)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(plain) || name.starts_with('.') {
        let rule = "must be 1 to {MAX} ASCII letters, digits, `_`, `-` or `.`, and must not start with a dot";
        field.error(rule.replace("{MAX}", &MAX_NAME_CHARS.to_string()), report);
    }
    Some(name.to_owned())
}

fn concurrency(field: Field, report: &mut Report<'_>) -> Option<Concurrency> {
    let mut fields = field.fields(report)?;
    let gate = name(&mut fields, "gate", report);
    let key = fields.optional("key").map(|field| pointer(Some(field), report));
    let limit = required_integer(&mut fields, "limit", MAX_GATE_LIMIT, report);
    fields.rest(&[], report);
    Some(Concurrency { gate, key, limit })
}

fn rate(field: Field, report: &mut Report<'_>) -> Option<Rate> {
    let mut fields = field.fields(report)?;
    let gate = name(&mut fields, "gate", report);
    let key = fields.optional("key").map(|field| pointer(Some(field), report));
    let limit = required_integer(&mut fields, "limit", MAX_GATE_LIMIT, report);
    let per_seconds = required_integer(&mut fields, "per_seconds", MAX_TIMEOUT_SECONDS, report);
    let burst = integer(&mut fields, "burst", 1..=limit, report).unwrap_or(limit);
    fields.rest(&[], report);
    Some(Rate { gate, key, limit, per_seconds, burst })
}

fn child_task(field: Field, report: &mut Report<'_>) -> Option<ChildTask> {
    let mut fields = field.fields(report)?;
    let template = name(&mut fields, "template", report);
    let version = fields.optional("version").and_then(|field| line(&field, MAX_VERSION_CHARS, report));
    let context_from = pointer(fields.optional("context_from"), report);
    fields.rest(&[], report);
    Some(ChildTask { template, version, context_from })
}

fn events(field: Field, report: &mut Report<'_>) -> Option<Vec<Event>> {
    let (at, path) = (field.node.at, field.path.clone());
    let items = field.list(report)?;
    if items.len() > MAX_EVENTS {
        report.error(at, &path, format!("a step may publish up to {MAX_EVENTS} events, not {}", items.len()));
    }
    Some(items.into_iter().filter_map(|item| event(item, report)).collect())
}

fn event(field: Field, report: &mut Report<'_>) -> Option<Event> {
    const CONDITIONS: [(&str, EventCondition); 5] = [
        ("success", EventCondition::Success),
        ("failure", EventCondition::Failure),
        ("retryable_failure", EventCondition::RetryableFailure),
        ("permanent_failure", EventCondition::PermanentFailure),
        ("always", EventCondition::Always),
    ];
    const MODES: [(&str, DeliveryMode); 3] =
        [("durable", DeliveryMode::Durable), ("fast", DeliveryMode::Fast), ("broadcast", DeliveryMode::Broadcast)];
    let mut fields = field.fields(report)?;
    let condition = fields.optional("condition").and_then(|field| field.one_of(&CONDITIONS, report));
    let mode = fields.optional("delivery_mode").and_then(|field| {
        let mode = field.one_of(&MODES, report)?;
        if mode != DeliveryMode::Durable {
            report.warn(
                field.node.at,
                &field.path,
                "has no effect: every event goes through the queue of its namespace",
            );
        }
        Some(mode)
    });
    let event = Event {
        name: name(&mut fields, "name", report),
        description: text(fields.optional("description"), report),
        condition: condition.unwrap_or(EventCondition::Success),
        delivery_mode: mode.unwrap_or(DeliveryMode::Durable),
        schema: fields.optional("schema").map(|field| schema(&field, report)),
    };
    fields.rest(published::EVENT, report);
    Some(event)
}

/// Reads `lifecycle`.
pub(super) fn lifecycle(field: Field, report: &mut Report<'_>) -> Option<Lifecycle> {
    const ACTIONS: [(&str, StalenessAction); 3] =
        [("dlq", StalenessAction::Dlq), ("error", StalenessAction::Error), ("none", StalenessAction::None)];
    let mut fields = field.fields(report)?;
    let mut minutes = |name| fields.kept(name).and_then(|field| field.integer(1..=MAX_LIFECYCLE_MINUTES, report));
    let max_waiting_for_dependencies_minutes = minutes("max_waiting_for_dependencies_minutes");
    let max_waiting_for_retry_minutes = minutes("max_waiting_for_retry_minutes");
    let max_steps_in_process_minutes = minutes("max_steps_in_process_minutes");
    let lifecycle = Lifecycle {
        max_duration_minutes: fields
            .kept("max_duration_minutes")
            .and_then(|field| field.integer(1..=MAX_TASK_MINUTES, report)),
        max_waiting_for_dependencies_minutes,
        max_waiting_for_retry_minutes,
        max_steps_in_process_minutes,
        staleness_action: fields
            .kept("staleness_action")
            .and_then(|field| field.one_of(&ACTIONS, report))
            .unwrap_or(StalenessAction::Dlq),
        auto_fail_on_timeout: fields.kept("auto_fail_on_timeout").and_then(|field| field.boolean(report)),
        auto_dlq_on_timeout: fields.kept("auto_dlq_on_timeout").and_then(|field| field.boolean(report)),
    };
    fields.rest(published::LIFECYCLE, report);
    Some(lifecycle)
}

/// Reads `environments`.
pub(super) fn environments(field: Field, steps: &[StepTemplate], report: &mut Report<'_>) -> Option<Vec<Environment>> {
    let entries = field.entries(report)?;
    let environment = |(name, field): (String, Field)| {
        let mut fields = field.fields(report)?;
        let changes = fields.optional("steps").and_then(|field| field.list(report)).unwrap_or_default();
        let changes = changes.into_iter().filter_map(|change| step_override(change, steps, report)).collect();
        if let Some(field) = fields.optional("task_handler") {
            report.warn(field.node.at, &field.path, "has no effect: only steps have handlers");
        }
        fields.rest(&[], report);
        Some(Environment { name, steps: changes })
    };
    Some(entries.into_iter().filter_map(environment).collect())
}

fn step_override(field: Field, steps: &[StepTemplate], report: &mut Report<'_>) -> Option<StepOverride> {
    let mut fields = field.fields(report)?;
    let named = fields.required("name", report)?;
    let name = named.text(report)?;
    let number = (0..).zip(steps).find(|(_, step)| step.name == name).map(|(number, _)| number);
    if number.is_none() && name != "ALL" {
        let hint = did_you_mean(name, steps.iter().map(|step| step.name.as_str()));
        named.error(format!("no step is named `{name}`; `ALL` means every step{hint}"), report);
    }
    let timeout_seconds = integer(&mut fields, "timeout_seconds", 1..=MAX_TIMEOUT_SECONDS, report);
    let retry = fields.optional("retry").map(|field| retry_policy(Some(field), report));
    let initialization = fields.optional("handler").and_then(|field| handler_override(field, report));
    fields.rest(&[], report);
    Some(StepOverride { step: number, timeout_seconds, retry, initialization: initialization.unwrap_or_default() })
}

fn handler_override(field: Field, report: &mut Report<'_>) -> Option<Map<String, Value>> {
    let mut fields = field.fields(report)?;
    let initialization = fields.optional("initialization");
    fields.rest(&[], report);
    let field = initialization?;
    match field.node.to_json() {
        Value::Object(settings) => Some(settings),
        _ => {
            field.expected("a mapping", report);
            None
        }
    }
}

/// Checks the rules that concern several steps or several fields of a step. `places` says where each step is.
pub(super) fn check(steps: &[StepTemplate], graph: &Graph, places: &[(Position, String)], report: &mut Report<'_>) {
    for ((number, step), (at, path)) in steps.iter().enumerate().zip(places) {
        let mut error = |message: String| report.error(*at, path, message);
        let dependencies = graph.dependencies_of(number);
        match step.step_type {
            StepType::DeferredConvergence if step.dependencies.is_empty() => {
                error("a step of `type: deferred_convergence` needs `dependencies`, the branches that it joins".into());
            }
            StepType::BatchWorker => {
                let is_batchable = |step: &u16| steps[usize::from(*step)].step_type == StepType::Batchable;
                if !(step.dependencies.len() == 1 && dependencies.iter().all(is_batchable)) {
                    error("a step of `type: batch_worker` depends on one step, of `type: batchable`".into());
                }
                match &step.batch_config {
                    None => error("a step of `type: batch_worker` needs `batch_config`".into()),
                    Some(config) if config.worker_template != step.name => error(format!(
                        "`batch_config.worker_template` must be the step itself, `{}`, not `{}`",
                        step.name, config.worker_template
                    )),
                    Some(_) => {}
                }
            }
            StepType::Batchable => {
                let workers: Vec<&str> = (graph.dependents_of(number).iter().map(|step| &steps[usize::from(*step)]))
                    .filter(|step| step.step_type == StepType::BatchWorker)
                    .map(|step| step.name.as_str())
                    .collect();
                if workers.is_empty() {
                    error("a step of `type: batchable` needs a step of `type: batch_worker` that depends on it".into());
                }
                let written = step
                    .handler
                    .as_ref()
                    .and_then(|handler| handler.initialization.get("worker_template_name")?.as_str());
                let configured = step.batch_config.as_ref().map(|config| config.worker_template.as_str());
                for name in written.into_iter().chain(configured) {
                    if !workers.is_empty() && !workers.contains(&name) {
                        let hint = did_you_mean(name, workers.iter().copied());
                        error(format!("no batch worker that depends on this step is named `{name}`{hint}"));
                    }
                }
            }
            _ => {}
        }
        if step.batch_config.is_some() && !matches!(step.step_type, StepType::Batchable | StepType::BatchWorker) {
            error("`batch_config` belongs to steps of `type: batchable` and `type: batch_worker`".into());
        }
        if step.wait.is_some() && (step.map.is_some() || step.step_type == StepType::BatchWorker) {
            error("a step that has children cannot have `wait`: put it on a step before".into());
        }
        if step.task.is_some() && (step.wait.is_some() || step.map.is_some() || step.step_type != StepType::Standard) {
            error("a step with `task` cannot have `wait`, `map` or a `type`: put them on other steps".into());
        }
        if step.map.is_some() && step.step_type != StepType::Standard {
            error(format!("`map` and `type: {}` exclude each other", step.step_type.as_str()));
        }
        let list = step.map.as_ref().map(|map| &steps[usize::from(map.step)]);
        if let Some(group) = list.filter(|list| list.map.is_some() || list.step_type == StepType::BatchWorker) {
            error(format!(
                "`map` cannot use `{0}`, whose children have the results: add a step that depends on `{0}` and returns a list",
                group.name
            ));
        }
        let is_parent = |name: &str| steps.iter().any(|other| other.map.is_some() && other.name == name);
        if let Some((group, _)) =
            step.name.rsplit_once('_').filter(|(group, number)| is_index(number) && is_parent(group))
        {
            error(format!("the children of `{group}` have names like `{}`; choose another name", step.name));
        }
    }
    check_gates(steps, places, report);
}

/// Whether it is written like the number of a child.
fn is_index(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|number| number.to_string() == text)
}

/// Steps that name the same gate must agree about it.
fn check_gates(steps: &[StepTemplate], places: &[(Position, String)], report: &mut Report<'_>) {
    let mut concurrency: HashMap<&str, &Concurrency> = HashMap::new();
    let mut rates: HashMap<&str, &Rate> = HashMap::new();
    for (step, (at, path)) in steps.iter().zip(places) {
        let limit = step.concurrency.as_ref().filter(|gate| {
            let first = concurrency.entry(&gate.gate).or_insert(gate);
            first.limit != gate.limit
        });
        let rate = step.rate.as_ref().filter(|gate| {
            let first = rates.entry(&gate.gate).or_insert(gate);
            (first.limit, first.per_seconds, first.burst) != (gate.limit, gate.per_seconds, gate.burst)
        });
        for gate in limit.map(|gate| &gate.gate).into_iter().chain(rate.map(|gate| &gate.gate)) {
            report.error(*at, path, format!("an earlier step sets another limit for the gate `{gate}`"));
        }
    }
}
