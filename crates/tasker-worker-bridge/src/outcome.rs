//! Reads the outcomes that the host returns.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tasker_worker::{HandlerError, HandlerResult, Wait, check_result, check_wait};

use crate::error;

/// An outcome: `{"result": ...}`, `{"error": {...}}` or `{"wait": {...}}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    #[serde(default)]
    error: Option<Failure>,
    #[serde(default)]
    wait: Option<Pause>,
}

/// The step continues later. See [`Wait`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    #[serde(default)]
    delay_ms: Option<u64>,
    #[serde(default)]
    signal: Option<String>,
    #[serde(default, deserialize_with = "present")]
    checkpoint: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    kind: String,
    message: String,
    #[serde(default)]
    permanent: bool,
    /// In milliseconds.
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

/// Tells a result of null from a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads an outcome. One that cannot be stored as it is becomes a permanent error of kind `bad_result`, `bad_checkpoint`
/// or `bad_wait`.
pub(crate) fn read(text: &[u8]) -> HandlerResult {
    let outcome = tasker_api::json::parse(text).map_err(|error| unreadable(&error::without_place(&error)))?;
    match outcome {
        Outcome { result: Some(result), error: None, wait: None } => Ok(result),
        Outcome { result: None, error: None, wait: Some(Pause { delay_ms, signal, checkpoint }) } => {
            Err(HandlerError::Waiting(Wait { delay: delay_ms.map(Duration::from_millis), signal, checkpoint }))
        }
        Outcome { result: None, error: Some(Failure { kind, message, permanent, retry_after_ms }), wait: None } => {
            let error = if permanent { HandlerError::permanent(message) } else { HandlerError::retryable(message) };
            let error = error.with_kind(kind);
            Err(match retry_after_ms {
                Some(delay) => error.with_retry_after(Duration::from_millis(delay)),
                None => error,
            })
        }
        _ => Err(bad_result("an outcome has one of `result`, `error` and `wait`")),
    }
}

/// The error of an outcome that is not JSON as it must be. The problem starts with its place.
fn unreadable(problem: &str) -> HandlerError {
    // That is how the parser sees half of a pair.
    let hint = if problem.contains("hex escape") { "; text must not have an unpaired surrogate" } else { "" };
    let (kind, what) = match problem {
        _ if problem.starts_with("wait.checkpoint") => ("bad_checkpoint", "checkpoint"),
        _ if problem.starts_with("wait") => ("bad_wait", "wait"),
        _ => return bad_result(&format!("{problem}{hint}")),
    };
    HandlerError::permanent(format!("the handler's {what} cannot be stored: {problem}{hint}")).with_kind(kind)
}

fn bad_result(reason: &str) -> HandlerError {
    HandlerError::permanent(format!("the handler's result cannot be stored: {reason}")).with_kind("bad_result")
}

/// Does what [`Bridge::complete`](crate::Bridge::complete) would do with an outcome, without a worker. Use it in tests
/// of handlers.
///
/// # Errors
/// The error of the outcome, or a permanent one of kind `bad_result` or `bad_checkpoint` if the result or the checkpoint
/// cannot be stored.
pub fn check(outcome: &str) -> HandlerResult {
    let outcome = read(outcome.as_bytes());
    match &outcome {
        Ok(result) => check_result(result)?,
        Err(HandlerError::Waiting(wait)) => check_wait(wait)?,
        Err(_) => {}
    }
    outcome
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_can_wait() {
        let wait =
            Wait { delay: Some(Duration::from_secs(1)), signal: Some("go".into()), checkpoint: Some(Value::Null) };
        let text = r#"{"wait": {"delay_ms": 1000, "signal": "go", "checkpoint": null}}"#;
        assert_eq!(check(text), Err(HandlerError::Waiting(wait)));
        assert_eq!(check(r#"{"wait": {}}"#), Err(HandlerError::Waiting(Wait::default())));
        assert!(matches!(check(r#"{"wait": {}, "result": 1}"#), Err(HandlerError::Permanent { .. })));
        let long = format!(r#"{{"checkpoint": "{}"}}"#, "x".repeat(1024 * 1024));
        for (wait, kind) in [
            (r#"{"checkpoint": "\u0000"}"#, "bad_checkpoint"),
            (&long, "bad_checkpoint"),
            (r#"{"signal": ""}"#, "bad_wait"),
            (r#"{"signal": 1}"#, "bad_wait"),
        ] {
            let error = check(&format!(r#"{{"wait": {wait}}}"#)).unwrap_err();
            assert!(error.to_string().starts_with(kind), "{error}");
        }
    }

    #[test]
    fn results_keep_their_values() {
        for text in
            ["null", "9007199254740993", "-9223372036854775808", "18446744073709551615", "0.1", "1e300", r#""\u00fc""#]
        {
            let result = check(&format!(r#"{{"result": {text}}}"#)).unwrap();
            assert_eq!(result, serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        assert_eq!(check(r#"{"result": {"b": 1, "a": [true]}}"#), Ok(json!({"b": 1, "a": [true]})));
    }

    #[test]
    fn results_that_would_change_are_permanent_errors() {
        for (text, reason) in [
            ("NaN", "expected value"),
            ("18446744073709551616", "does not fit into 64 bits"),
            (r#""\ud800""#, "result: unexpected end of hex escape; text must not have an unpaired surrogate"),
            (r#"{"a": 1, "a": 2}"#, "twice"),
            (r#""\u0000""#, "NUL"),
            (&("[".repeat(101) + &"]".repeat(101)), "100 levels"),
        ] {
            match check(&format!(r#"{{"result": {text}}}"#)) {
                Err(HandlerError::Permanent { kind, message }) => {
                    assert_eq!(kind, "bad_result");
                    assert!(message.contains(reason), "{text}: {message}");
                }
                other => unreachable!("{text}: {other:?}"),
            }
        }
        for text in ["{}", r#"{"result": 1, "error": {"kind": "a", "message": "b"}}"#, "1", r#"{"value": 1}"#] {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_keep_their_kind_and_delay() {
        let error = check(r#"{"error": {"kind": "down", "message": "no route", "retry_after_ms": 1500}}"#);
        let expected = HandlerError::retryable("no route").with_kind("down");
        assert_eq!(error, Err(expected.with_retry_after(Duration::from_millis(1500))));
        let error = check(r#"{"error": {"kind": "declined", "message": "no", "permanent": true}}"#);
        assert_eq!(error, Err(HandlerError::permanent("no").with_kind("declined")));
    }
}
