//! Requests of the API. The first byte selects the kind: `c` creates a task, `r` resolves a step, `o` is an operator's
//! action, `q` is a query.
//!
//! A request that is accepted keeps its value when it is written and read again, and PostgreSQL can store it as it was
//! sent. A request that passes the checks is within the limits.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tasker_api::json;
use tasker_api::limits::{MAX_JSON_DEPTH, MAX_RESULT_BYTES, stored_bytes};
use tasker_api::{CreateTask, ListTasks, OperatorAction, ResolveStep, TaskState};

fuzz_target!(|input: &[u8]| -> Corpus {
    match input.split_first() {
        Some((b'c', body)) => create(body),
        Some((b'r', body)) => resolve(body),
        Some((b'o', body)) => act(body),
        Some((b'q', text)) => query(text),
        _ => return Corpus::Reject,
    }
    Corpus::Keep
});

fn create(body: &[u8]) {
    let Some(request) = read::<CreateTask>(body) else { return };
    assert!(request.priority.is_none_or(|priority| (0..=100).contains(&priority)));
    can_be_stored(&Value::Object(request.context.clone()));
    if let Err(error) = request.check() {
        assert!(error.to_string().len() < 1_000, "{error}");
        return;
    }
    let short = |text: &str, chars: usize| (1..=chars).contains(&text.chars().count());
    assert!(short(&request.namespace, 47) && short(&request.name, 128));
    assert!(request.version.is_none_or(|version| short(&version, 64)));
    assert!(request.idempotency_key.is_none_or(|key| short(&key, 255)));
    // A list shows up to 500 tasks with their tags.
    assert!(request.tags.is_none_or(|tags| (tags.is_array() || tags.is_object()) && tags.to_string().len() < 200_000));
}

fn resolve(body: &[u8]) {
    let Some(request) = read::<ResolveStep>(body) else { return };
    can_be_stored(&request.result);
    assert_eq!(request.check().is_ok(), stored_bytes(&request.result) <= MAX_RESULT_BYTES);
}

fn act(body: &[u8]) {
    let Some(request) = read::<OperatorAction>(body) else { return };
    let short = |text: Option<String>, chars: usize| text.is_none_or(|text| text.chars().count() <= chars);
    assert_eq!(request.check().is_ok(), short(request.actor, 255) && short(request.reason, 1_000));
}

fn query(text: &[u8]) {
    let Ok(list) = serde_urlencoded::from_bytes::<ListTasks>(text) else { return };
    let written = serde_urlencoded::to_string(&list).expect("a query can be written");
    let again: ListTasks = serde_urlencoded::from_str(&written).expect("a written query can be read");
    assert_eq!(serde_json::json!(again), serde_json::json!(list));
    if let Some(Ok(state)) = list.status.map(|status| status.parse::<TaskState>()) {
        assert_eq!(state.as_str().parse::<TaskState>().ok(), Some(state));
    }
}

/// Reads a body. If the body is accepted, every other JSON parser reads the same value.
fn read<T: DeserializeOwned + Serialize>(body: &[u8]) -> Option<T> {
    let value = match json::parse::<Value>(body) {
        Ok(value) => value,
        Err(error) => {
            assert!(error.to_string().len() < 5_000, "{error}");
            assert!(json::parse::<T>(body).is_err());
            return None;
        }
    };
    assert_eq!(serde_json::from_slice::<Value>(body).ok().as_ref(), Some(&value));
    let written = serde_json::to_vec(&value).expect("a value can be written");
    assert_eq!(json::parse::<Value>(&written).as_ref(), Ok(&value));

    let request = json::parse::<T>(body).ok()?;
    let written = serde_json::to_value(&request).expect("a request can be written");
    let again: T = serde_json::from_value(written.clone()).expect("a written request can be read");
    assert_eq!(serde_json::to_value(&again).expect("a request can be written"), written);
    Some(request)
}

/// Asserts that PostgreSQL can store the value and that every client can read it.
fn can_be_stored(value: &Value) {
    let text = value.to_string();
    assert!(stored_bytes(value) >= text.len());
    assert!(levels(value) <= MAX_JSON_DEPTH);
    assert!(!has_nul(value));
}

fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}
