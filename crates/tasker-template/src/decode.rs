//! Turns the tree of a file into a template and checks the rules of the format.
//!
//! A placeholder replaces a value that has an error, so that the rest is checked too. [`parse`](crate::parse) never
//! returns a template that has errors.

mod flow;

use std::collections::{HashMap, HashSet};

use semver::Version;
use serde_json::{Map, Value};
use tasker_api::limits::{
    MAX_ATTEMPTS, MAX_BACKOFF_MS, MAX_CALLABLE_CHARS, MAX_DEPENDENCIES, MAX_NAME_CHARS, MAX_NAMESPACE_CHARS,
    MAX_SEARCHABLE, MAX_STEPS, MAX_TIMEOUT_SECONDS, MAX_VERSION_CHARS,
};

use crate::fields::{Field, Fields, did_you_mean};
use crate::finding::Report;
use crate::flow::StepType;
use crate::graph::Graph;
use crate::input::InputValidator;
use crate::published;
use crate::template::{Backoff, Handler, RetryPolicy, StepTemplate, TaskTemplate};
use crate::yaml::{Content, Node};

pub(crate) fn template(root: Node, report: &mut Report<'_>) -> Option<TaskTemplate> {
    let mut fields = Field { node: root, path: String::new() }.fields(report)?;
    let name = required_line(&mut fields, "name", MAX_NAME_CHARS, report);
    let namespace_name = fields.required("namespace_name", report).and_then(|field| namespace(&field, report));
    let version = fields.required("version", report).and_then(|field| version(&field, report));
    let description = text(fields.optional("description"), report);
    let metadata = fields.optional("metadata").map(|field| field.node.to_json());
    let input_schema = fields.optional("input_schema").map(|field| schema(&field, report));
    let searchable = fields.optional("searchable").map(|field| searchable(field, report)).unwrap_or_default();
    let (steps, graph) = fields.required("steps", report).and_then(|field| steps(field, report)).unwrap_or_default();
    let lifecycle = fields.kept("lifecycle").and_then(|field| flow::lifecycle(field, report));
    let environments = fields.kept("environments").and_then(|field| flow::environments(field, &steps, report));
    let extra = fields.rest(published::TEMPLATE, report);
    Some(TaskTemplate {
        name,
        namespace_name: namespace_name.unwrap_or_default(),
        version: version.unwrap_or(Version::new(0, 0, 0)),
        description,
        metadata,
        input_schema,
        searchable,
        steps,
        extra,
        lifecycle,
        environments: environments.unwrap_or_default(),
        graph,
    })
}

fn text(field: Option<Field>, report: &mut Report<'_>) -> Option<String> {
    field?.text(report).map(str::to_owned)
}

fn required_line(fields: &mut Fields, name: &'static str, max_chars: usize, report: &mut Report<'_>) -> String {
    fields.required(name, report).and_then(|field| line(&field, max_chars, report)).unwrap_or_default()
}

/// One line of text: not blank, not too long, without control characters.
fn line(field: &Field, max_chars: usize, report: &mut Report<'_>) -> Option<String> {
    let text = field.text(report)?;
    let count = text.chars().count();
    if text.trim().is_empty() {
        field.error("must not be empty", report);
    } else if count > max_chars {
        field.error(format!("has {count} characters; the limit is {max_chars}"), report);
    } else if let Some(c) = text.chars().find(|c| c.is_control()) {
        field.error(format!("must not contain the control character U+{:04X}", u32::from(c)), report);
    }
    Some(text.to_owned())
}

fn namespace(field: &Field, report: &mut Report<'_>) -> Option<String> {
    let name = field.text(report)?;
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !starts_well || !is_plain || name.len() > MAX_NAMESPACE_CHARS {
        let rule =
            format!("must be 1 to {MAX_NAMESPACE_CHARS} ASCII letters, digits or `_`, and must not start with a digit");
        field.error(rule, report);
    }
    Some(name.to_owned())
}

fn version(field: &Field, report: &mut Report<'_>) -> Option<Version> {
    if matches!(field.node.content, Content::Scalar(Value::Number(_))) {
        field.expected("a full semantic version such as 1.0.0", report);
        return None;
    }
    let text = field.text(report)?;
    if text.len() > MAX_VERSION_CHARS {
        field.error(format!("has {} characters; the limit is {MAX_VERSION_CHARS}", text.len()), report);
        return None;
    }
    let parsed = Version::parse(text);
    if let Err(error) = &parsed {
        field.error(format!("`{text}` is not a full semantic version such as 1.0.0: {error}"), report);
    }
    parsed.ok()
}

/// A JSON Schema, compiled only to check it.
fn schema(field: &Field, report: &mut Report<'_>) -> Value {
    let schema = field.node.to_json();
    if !schema.is_object() && !schema.is_boolean() {
        field.expected("a JSON Schema (a mapping)", report);
    } else if let Err(error) = InputValidator::new(&schema) {
        let path = format!("{}{}", field.path, error.pointer.replace('/', "."));
        report.error(field.node.locate(&error.pointer), &path, format!("not a valid JSON Schema: {}", error.message));
    }
    schema
}

/// JSON pointers into the context.
fn searchable(field: Field, report: &mut Report<'_>) -> Vec<String> {
    let (at, path) = (field.node.at, field.path.clone());
    let items = field.list(report).unwrap_or_default();
    if items.len() > MAX_SEARCHABLE {
        report.error(at, &path, format!("names {} values; the limit is {MAX_SEARCHABLE}", items.len()));
    }
    let mut pointers = Vec::new();
    for item in &items {
        let Some(pointer) = line(item, MAX_NAME_CHARS, report) else { continue };
        if !pointer.starts_with('/') {
            item.error(format!("must be a JSON pointer such as `/{pointer}`"), report);
        } else if pointers.contains(&pointer) {
            item.error(format!("an earlier value is also `{pointer}`"), report);
        }
        pointers.push(pointer);
    }
    pointers
}

/// The steps and their graph.
fn steps(field: Field, report: &mut Report<'_>) -> Option<(Vec<StepTemplate>, Graph)> {
    let (at, path) = (field.node.at, field.path.clone());
    let items = field.list(report)?;
    if items.is_empty() || items.len() > MAX_STEPS {
        report.error(at, &path, format!("a template must have 1 to {MAX_STEPS} steps, not {}", items.len()));
        return None;
    }
    let items: Vec<Fields> = items.into_iter().filter_map(|item| item.fields(report)).collect();

    let mut numbers: HashMap<String, u16> = HashMap::new();
    for (number, fields) in (0..).zip(&items) {
        if let Some(name) = fields.text_of("name") {
            numbers.entry(name.to_owned()).or_insert(number);
        }
    }
    let places: Vec<_> = items.iter().map(|fields| (fields.at, fields.path.clone())).collect();
    let mut steps = Vec::new();
    let mut dependencies = Vec::new();
    for ((number, fields), (at, path)) in (0..).zip(items).zip(&places) {
        let (step, needs) = step(fields, &numbers, report);
        // A step without a name is reported already.
        if !step.name.is_empty() && numbers.get(&step.name) != Some(&number) {
            report.error(*at, path, format!("an earlier step is also named `{}`", step.name));
        }
        steps.push(step);
        dependencies.push(needs);
    }
    let graph = resolve(&steps, &dependencies, &numbers, report);
    flow::check(&steps, &graph, &places, report);
    Some((steps, graph))
}

/// Turns the names in `dependencies` into step numbers.
fn resolve(
    steps: &[StepTemplate],
    dependencies: &[Vec<Field>],
    numbers: &HashMap<String, u16>,
    report: &mut Report<'_>,
) -> Graph {
    let mut edges = Vec::new();
    for (step, fields) in steps.iter().zip(dependencies) {
        let mut seen = HashSet::new();
        let mut needed = Vec::new();
        for (name, field) in step.dependencies.iter().zip(fields) {
            if !seen.insert(name) {
                field.error(format!("the step depends on `{name}` twice; keep one"), report);
            } else if *name == step.name {
                field.error("a step cannot depend on itself", report);
            } else if let Some(number) = numbers.get(name) {
                needed.push(*number);
            } else {
                let hint = if report.is_full() {
                    String::new()
                } else {
                    did_you_mean(name, numbers.keys().map(String::as_str))
                };
                field.error(format!("no step is named `{name}`{hint}"), report);
            }
        }
        edges.push(needed);
    }
    let graph = Graph::new(edges);
    for cycle in graph.cycles() {
        report_cycle(&cycle, steps, dependencies, report);
    }
    graph
}

/// Reports a cycle at the place where its first step names the second.
fn report_cycle(cycle: &[u16], steps: &[StepTemplate], dependencies: &[Vec<Field>], report: &mut Report<'_>) {
    let names: Vec<&str> =
        cycle.iter().chain(cycle.first()).map(|step| steps[usize::from(*step)].name.as_str()).collect();
    let first = usize::from(cycle[0]);
    let edge = steps[first].dependencies.iter().zip(&dependencies[first]).find(|(name, _)| *name == names[1]);
    if let Some((_, field)) = edge {
        field.error(format!("the steps depend on each other in a cycle: {}", names.join(" → ")), report);
    }
}

/// Returns a step and the fields that name its dependencies.
fn step(mut fields: Fields, numbers: &HashMap<String, u16>, report: &mut Report<'_>) -> (StepTemplate, Vec<Field>) {
    let name = required_line(&mut fields, "name", MAX_NAME_CHARS, report);
    let description = text(fields.optional("description"), report);
    // Whether the task is valid is checked below.
    let handler = if fields.kept("task").is_some() {
        let written = fields.optional("handler");
        if let Some(field) = &written {
            report.warn(field.node.at, &field.path, "has no effect: the step runs a task, and calls no handler");
        }
        written
    } else {
        fields.required("handler", report)
    };
    let handler = handler.map(|field| self::handler(field, report));
    let needs = fields.optional_alias("dependencies", "depends_on", report).and_then(|field| needs(field, report));
    let mut dependencies = Vec::new();
    let mut places = Vec::new();
    for field in needs.into_iter().flatten() {
        if let Some(name) = field.text(report) {
            dependencies.push(name.to_owned());
            places.push(field);
        }
    }
    let retry = retry_policy(fields.optional("retry"), report);
    let timeout_seconds = fields
        .optional("timeout_seconds")
        .and_then(|field| field.integer(1..=MAX_TIMEOUT_SECONDS, report))
        .unwrap_or(StepTemplate::DEFAULT_TIMEOUT_SECONDS);
    let mut step = StepTemplate {
        name,
        description,
        handler,
        dependencies,
        retry,
        timeout_seconds,
        extra: Map::new(),
        step_type: StepType::Standard,
        when: Vec::new(),
        batch_config: None,
        map: None,
        wait: None,
        concurrency: None,
        rate: None,
        task: None,
        events: Vec::new(),
    };
    let names = step.dependencies.clone();
    flow::step(&mut step, &mut fields, &flow::Names { numbers, dependencies: &names }, report);
    step.extra = fields.rest(published::STEP, report);
    (step, places)
}

fn needs(field: Field, report: &mut Report<'_>) -> Option<Vec<Field>> {
    let (at, path) = (field.node.at, field.path.clone());
    let needs = field.list(report)?;
    if needs.len() > MAX_DEPENDENCIES {
        let message = format!(
            "a step may depend on up to {MAX_DEPENDENCIES} steps, not {}; add steps in between that join results",
            needs.len()
        );
        report.error(at, &path, message);
    }
    Some(needs)
}

fn handler(field: Field, report: &mut Report<'_>) -> Handler {
    let mut handler = Handler { callable: String::new(), initialization: Value::Object(Map::new()), extra: Map::new() };
    let Some(mut fields) = field.fields(report) else {
        return handler;
    };
    handler.callable = required_line(&mut fields, "callable", MAX_CALLABLE_CHARS, report);
    if let Some(field) = fields.optional("initialization") {
        match field.node.to_json() {
            value @ Value::Object(_) => handler.initialization = value,
            _ => field.expected("a mapping", report),
        }
    }
    handler.extra = fields.rest(published::HANDLER, report);
    handler
}

fn retry_policy(field: Option<Field>, report: &mut Report<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(mut fields) = field.and_then(|field| field.fields(report)) else {
        return default;
    };
    let retryable = fields.optional("retryable").and_then(|field| field.boolean(report)).unwrap_or(default.retryable);
    let limit = fields.optional_alias("limit", "max_attempts", report);
    let limit = limit.and_then(|field| limit_of(&field, report)).unwrap_or(default.limit);
    let backoff = fields.optional("backoff").and_then(|field| backoff(&field, report));

    // If only one of the two is written, it also limits the default of the other, so that base <= max.
    let base = fields.optional("backoff_base_ms");
    let max = fields.optional("max_backoff_ms");
    let written_base = base.as_ref().and_then(|field| field.integer(0..=MAX_BACKOFF_MS, report));
    let written_max = max.as_ref().and_then(|field| field.integer(0..=MAX_BACKOFF_MS, report));
    let backoff_base_ms = written_base.unwrap_or(default.backoff_base_ms.min(written_max.unwrap_or(u32::MAX)));
    let max_backoff_ms = written_max.unwrap_or(default.max_backoff_ms.max(backoff_base_ms));
    if let Some(field) = base.filter(|_| backoff_base_ms > max_backoff_ms) {
        field.error(format!("must not exceed max_backoff_ms, which is {max_backoff_ms}"), report);
    }
    RetryPolicy {
        retryable,
        limit,
        backoff: backoff.unwrap_or(default.backoff),
        backoff_base_ms,
        max_backoff_ms,
        extra: fields.rest(published::RETRY, report),
    }
}

fn limit_of(field: &Field, report: &mut Report<'_>) -> Option<u32> {
    // Published templates write 0 for a step without retries. tasker-core runs such a step once.
    if matches!(&field.node.content, Content::Scalar(value) if *value == 0) {
        report.warn(field.node.at, &field.path, "0 is read as 1: the first attempt always runs");
        return Some(1);
    }
    field.integer(1..=MAX_ATTEMPTS, report)
}

fn backoff(field: &Field, report: &mut Report<'_>) -> Option<Backoff> {
    let text = field.text(report)?;
    if let Some(backoff) = Backoff::ALL.into_iter().find(|backoff| backoff.as_str() == text) {
        return Some(backoff);
    }
    match text {
        // tasker-core has two more.
        "fibonacci" => {
            report.warn(field.node.at, &field.path, "`fibonacci` is read as `exponential`");
            Some(Backoff::Exponential)
        }
        "none" => {
            let message = "`none` is read as `fixed`; for retries without a delay, write backoff_base_ms: 0";
            report.warn(field.node.at, &field.path, message);
            Some(Backoff::Fixed)
        }
        _ => {
            let known = Backoff::ALL.map(Backoff::as_str).join(", ");
            field.error(format!("must be one of {known}, not `{text}`"), report);
            None
        }
    }
}
