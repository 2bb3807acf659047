//! Task templates. Any text is either rejected, with error positions inside the text, or it is a template that the
//! engine can run. An accepted template keeps its value when it is written and read again.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::json;
use tasker_api::limits::{
    MAX_ATTEMPTS, MAX_BACKOFF_MS, MAX_CALLABLE_CHARS, MAX_DEPENDENCIES, MAX_EVENTS, MAX_LIFECYCLE_MINUTES,
    MAX_NAME_CHARS, MAX_NAMESPACE_CHARS, MAX_PARALLELISM, MAX_STEPS, MAX_TASK_MINUTES, MAX_TIMEOUT_SECONDS,
    MAX_VERSION_CHARS,
};
use tasker_template::{InputValidator, StepTemplate, StepType, TaskTemplate, TemplateErrors, parse, version_key};

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(text) else { return Corpus::Reject };
    match parse(text, None) {
        Err(errors) => has_positions(&errors, text),
        Ok(parsed) => {
            can_be_run(&parsed.template);
            let written = serde_json::to_string(&parsed.template).expect("a template can be written");
            assert!(!written.contains("\\u0000"), "PostgreSQL cannot store it: {written}");
            let again = parse(&written, None).unwrap_or_else(|errors| panic!("{errors}\n{written}"));
            assert_eq!(again.template, parsed.template);
        }
    }
    Corpus::Keep
});

fn has_positions(TemplateErrors(errors): &TemplateErrors, text: &str) {
    assert!(!errors.is_empty());
    // YAML ends lines at these characters. The end of the text is a valid position too.
    let lines = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 2;
    for error in errors {
        assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error:?}");
        assert!(!error.message.is_empty() && error.message.len() < 10_000, "{error:?}");
    }
}

/// Asserts what the engine's tables and functions rely on.
fn can_be_run(template: &TaskTemplate) {
    let TaskTemplate { name, namespace_name, version, steps, input_schema, .. } = template;
    is_line(name, MAX_NAME_CHARS);
    assert!((1..=MAX_NAMESPACE_CHARS).contains(&namespace_name.len()));
    assert!(namespace_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    assert!(version.to_string().len() <= MAX_VERSION_CHARS);
    assert!(version_key(version).is_ascii());
    assert!((1..=MAX_STEPS).contains(&steps.len()));
    let names: HashSet<_> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names.len(), steps.len(), "two steps have the same name");
    for (number, step) in steps.iter().enumerate() {
        takes_shape(template, number, step);
        is_line(&step.name, MAX_NAME_CHARS);
        assert!(step.handler.is_some() || step.task.is_some());
        step.handler.iter().for_each(|handler| is_line(&handler.callable, MAX_CALLABLE_CHARS));
        assert!(step.initialization().is_object());
        assert!((1..=MAX_ATTEMPTS).contains(&step.retry.limit));
        assert!((1..=step.retry.limit).contains(&step.retry.max_attempts()));
        assert!(step.retry.backoff_base_ms <= step.retry.max_backoff_ms && step.retry.max_backoff_ms <= MAX_BACKOFF_MS);
        assert!((1..=MAX_TIMEOUT_SECONDS).contains(&step.timeout_seconds));
    }
    has_no_cycle(template);
    if let Some(lifecycle) = &template.lifecycle {
        let minutes = [
            lifecycle.max_waiting_for_dependencies_minutes,
            lifecycle.max_waiting_for_retry_minutes,
            lifecycle.max_steps_in_process_minutes,
        ];
        assert!(minutes.into_iter().flatten().all(|minutes| (1..=MAX_LIFECYCLE_MINUTES).contains(&minutes)));
        assert!(lifecycle.max_duration_minutes.is_none_or(|minutes| (1..=MAX_TASK_MINUTES).contains(&minutes)));
    }
    for settings in &template.environments {
        let changed = template.steps_in(&settings.name);
        assert_eq!(changed.len(), steps.len());
        for step in &changed {
            assert!((1..=MAX_TIMEOUT_SECONDS).contains(&step.timeout_seconds));
            assert!((1..=MAX_ATTEMPTS).contains(&step.retry.limit));
            assert!(step.initialization().is_object());
        }
    }
    if let Some(schema) = input_schema {
        let validator = InputValidator::new(schema).expect("an accepted schema compiles");
        for context in [json!({}), json!({ "even_number": 6, "items": [{ "quantity": 1 }, "x"] })] {
            let errors = validator.validate(&context).err().unwrap_or_default();
            assert!(errors.len() <= 10);
        }
    }
}

/// Asserts the rules of the fields with which a workflow takes shape.
fn takes_shape(template: &TaskTemplate, number: usize, step: &StepTemplate) {
    let dependencies = template.dependencies_of(number);
    let type_of = |step: &u16| template.steps[usize::from(*step)].step_type;
    assert!(step.events.len() <= MAX_EVENTS);
    step.events.iter().for_each(|event| is_line(&event.name, MAX_NAME_CHARS));
    assert!(step.when.iter().all(|condition| dependencies.contains(&condition.step)));
    if let Some(map) = &step.map {
        assert!(dependencies.contains(&map.step) && (1..=MAX_PARALLELISM).contains(&map.parallelism));
        assert_eq!(step.step_type, StepType::Standard);
    }
    if let Some(gate) = &step.rate {
        assert!((1..=gate.limit).contains(&gate.burst) && gate.per_seconds >= 1);
    }
    match step.step_type {
        StepType::BatchWorker => {
            assert!(step.batch_config.is_some());
            assert_eq!(dependencies.iter().map(type_of).collect::<Vec<_>>(), [StepType::Batchable]);
        }
        StepType::Batchable => {
            assert!(template.dependents_of(number).iter().any(|s| type_of(s) == StepType::BatchWorker))
        }
        StepType::DeferredConvergence => assert!(!dependencies.is_empty()),
        StepType::Standard | StepType::Decision => {}
    }
}

fn is_line(text: &str, max_chars: usize) {
    assert!(
        !text.trim().is_empty() && text.chars().count() <= max_chars && !text.contains(char::is_control),
        "{text:?}"
    );
}

/// Asserts that the edges match the names in both directions, and that every step is in one level, after all its
/// dependencies.
fn has_no_cycle(template: &TaskTemplate) {
    let levels = template.levels();
    let mut level_of = vec![None; template.steps.len()];
    for (level, steps) in levels.iter().enumerate() {
        for step in steps {
            assert_eq!(level_of[usize::from(*step)].replace(level), None, "a step is in two levels");
        }
    }
    for (number, step) in template.steps.iter().enumerate() {
        let dependencies = template.dependencies_of(number);
        assert!(dependencies.len() <= MAX_DEPENDENCIES);
        let named: Vec<_> = dependencies.iter().map(|other| &template.steps[usize::from(*other)].name).collect();
        assert_eq!(named, step.dependencies.iter().collect::<Vec<_>>());
        assert_eq!(dependencies.iter().collect::<HashSet<_>>().len(), dependencies.len(), "a dependency counts twice");
        for &other in dependencies {
            assert!(level_of[usize::from(other)] < level_of[number], "a step comes before its dependency");
            let back = template.dependents_of(usize::from(other)).iter().filter(|&&step| usize::from(step) == number);
            assert_eq!(back.count(), 1);
        }
        assert!(level_of[number].is_some(), "a step never becomes ready");
    }
    let edges = |of: fn(&TaskTemplate, usize) -> &[u16]| {
        (0..level_of.len()).map(|step| of(template, step).len()).sum::<usize>()
    };
    assert_eq!(edges(TaskTemplate::dependencies_of), edges(TaskTemplate::dependents_of));
}
