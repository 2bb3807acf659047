//! The documented template shows the real defaults and limits.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use tasker_api::limits::{
    MAX_ATTEMPTS, MAX_BACKOFF_MS, MAX_CALLABLE_CHARS, MAX_DEPENDENCIES, MAX_NAME_CHARS, MAX_NAMESPACE_CHARS, MAX_STEPS,
    MAX_TIMEOUT_SECONDS,
};
use tasker_template::{Backoff, Parsed, RetryPolicy, StepTemplate, parse};

const FORMAT: &str = include_str!("../src/format.yaml");

#[test]
fn the_documented_template_is_valid_and_shows_the_defaults() {
    let Parsed { template, warnings } = parse(FORMAT, None).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(template.steps[0].retry, RetryPolicy::default());
    assert_eq!(template.steps[0].timeout_seconds, StepTemplate::DEFAULT_TIMEOUT_SECONDS);
    // The second step omits what the first one shows.
    assert_eq!(template.steps[1].retry, template.steps[0].retry);
    assert_eq!(template.steps[1].timeout_seconds, template.steps[0].timeout_seconds);
}

#[test]
fn the_documented_limits_are_the_constants() {
    const DAY: u32 = 24 * 3600;
    let name = format!("1 to {MAX_NAME_CHARS} characters");
    let backoff_ms = format!("up to {} days", MAX_BACKOFF_MS / 1000 / DAY);
    for (field, expected) in [
        ("name:", &name),
        ("- name:", &name),
        ("namespace_name:", &format!("1 to {MAX_NAMESPACE_CHARS} letters")),
        ("steps:", &format!("1 to {MAX_STEPS}")),
        ("callable:", &format!("1 to {MAX_CALLABLE_CHARS} characters")),
        ("limit:", &format!("1 to {MAX_ATTEMPTS}")),
        ("backoff_base_ms:", &backoff_ms),
        ("max_backoff_ms:", &backoff_ms),
        ("timeout_seconds:", &format!("1 second to {} days", MAX_TIMEOUT_SECONDS / DAY)),
        ("dependencies:", &format!("up to {MAX_DEPENDENCIES} steps")),
    ] {
        let line = line_of(field);
        let (_, after) = line.split_once(expected.as_str()).unwrap_or_else(|| panic!("`{line}` lacks `{expected}`"));
        assert!(!after.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    }
    for backoff in Backoff::ALL {
        assert!(line_of("backoff:").contains(backoff.as_str()), "{backoff:?}");
    }
}

/// The first line of a field.
fn line_of(field: &str) -> &'static str {
    FORMAT.lines().find(|line| line.trim_start().starts_with(field)).unwrap()
}
