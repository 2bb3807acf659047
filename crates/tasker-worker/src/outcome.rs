//! Turns the end of a handler into the outcome of its step.

use std::any::Any;
use std::time::Duration;

use serde_json::{Value, json};
use tasker_api::limits::{
    MAX_ERROR_KIND_CHARS, MAX_ERROR_MESSAGE_CHARS, MAX_JSON_DEPTH, MAX_NAME_CHARS, MAX_RESULT_BYTES, MAX_WAIT_SECONDS,
    stored_bytes,
};
use tasker_engine::{StepOutcome, Wait};

use crate::error::{HandlerError, HandlerResult};
use crate::handlers::Handlers;

/// The kind of an error that replaces a result that cannot be stored.
const BAD_RESULT: &str = "bad_result";

/// The outcome of a handler that returned.
pub(crate) fn of_result(result: HandlerResult) -> StepOutcome {
    match result {
        Ok(value) => match check(&value, "the result") {
            Ok(()) => StepOutcome::Completed(value),
            Err(message) => permanent(BAD_RESULT, &message),
        },
        Err(HandlerError::Retryable { kind, message, retry_after }) => {
            let mut error = error(&kind, &message);
            if let Some(delay) = retry_after {
                // The engine reads this field.
                error["retry_after_ms"] = json!(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
            }
            StepOutcome::RetryableError(error)
        }
        Err(HandlerError::Permanent { kind, message }) => permanent(&kind, &message),
        Err(HandlerError::Waiting(wait)) => match bad_wait(&wait) {
            None => StepOutcome::Waiting(wait),
            Some((kind, message)) => permanent(kind, &message),
        },
    }
}

/// The outcome of a handler that panicked.
pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> StepOutcome {
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message.as_str(),
        _ => "the handler panicked",
    };
    StepOutcome::RetryableError(error("panic", message))
}

/// The outcome of a handler that exceeded its time limit.
pub(crate) fn of_timeout(timeout_seconds: i32) -> StepOutcome {
    let message = format!("the attempt exceeded the step's timeout_seconds of {timeout_seconds} s");
    StepOutcome::RetryableError(error("timeout", &message))
}

/// The outcome of a step whose handler this worker does not have. Another worker may have it.
pub(crate) fn of_no_handler(callable: &str, handlers: &Handlers) -> StepOutcome {
    let known: Vec<_> = handlers.names().collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!("this worker has no handler `{callable}`; it has: {known}");
    StepOutcome::RetryableError(error("no_handler", &message))
}

/// The outcome of a step whose result or error PostgreSQL refused.
pub(crate) fn of_refused_payload(reason: &str) -> StepOutcome {
    permanent(BAD_RESULT, &format!("PostgreSQL cannot store the handler's result: {reason}"))
}

fn permanent(kind: &str, message: &str) -> StepOutcome {
    StepOutcome::PermanentError(error(kind, message))
}

fn error(kind: &str, message: &str) -> Value {
    json!({"kind": storable(kind, MAX_ERROR_KIND_CHARS), "message": storable(message, MAX_ERROR_MESSAGE_CHARS)})
}

/// Replaces what PostgreSQL cannot store, and cuts off what is too long.
fn storable(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Checks whether the result of a handler can be stored. The worker does this itself; use it in tests of handlers.
///
/// # Errors
/// A permanent error of kind `bad_result` that says why not.
pub fn check_result(result: &Value) -> Result<(), HandlerError> {
    check(result, "the result").map_err(|message| HandlerError::permanent(message).with_kind(BAD_RESULT))
}

/// Checks whether a step can wait as its handler asks. The worker does this itself; use it in tests of handlers.
///
/// # Errors
/// A permanent error of kind `bad_wait` if the wait is too long or no signal can have the name, or `bad_checkpoint` if
/// the checkpoint cannot be stored.
pub fn check_wait(wait: &Wait) -> Result<(), HandlerError> {
    match bad_wait(wait) {
        None => Ok(()),
        Some((kind, message)) => Err(HandlerError::permanent(message).with_kind(kind)),
    }
}

/// The kind and the message of the error of a wait that cannot be.
fn bad_wait(wait: &Wait) -> Option<(&'static str, String)> {
    if wait.delay.is_some_and(|delay| delay > Duration::from_secs(MAX_WAIT_SECONDS.into())) {
        return Some(("bad_wait", format!("a step can wait for {} days at most", MAX_WAIT_SECONDS / 86_400)));
    }
    if let Some(name) = &wait.signal
        && (name.is_empty() || name.contains('\0') || name.chars().count() > MAX_NAME_CHARS)
    {
        let message = format!(
            "the handler waits for a signal that nobody can send: its name must have 1 to {MAX_NAME_CHARS} characters \
             without U+0000, but is {name:?}"
        );
        return Some(("bad_wait", message));
    }
    let message = check(wait.checkpoint.as_ref()?, "the checkpoint").err()?;
    Some(("bad_checkpoint", message))
}

/// Returns why a value cannot be stored. `what` names it.
fn check(value: &Value, what: &str) -> Result<(), String> {
    check_content(value, MAX_JSON_DEPTH).map_err(|problem| format!("{what} {problem}"))?;
    let bytes = stored_bytes(value);
    if bytes > MAX_RESULT_BYTES {
        return Err(format!(
            "{what} has {bytes} bytes of JSON; the limit is {MAX_RESULT_BYTES}; \
             store large data elsewhere and return its location"
        ));
    }
    Ok(())
}

fn check_content(value: &Value, depth: usize) -> Result<(), String> {
    let nul = |text: &str| text.contains('\0');
    let has_nul = match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => {
            return Err(format!("is nested more than {MAX_JSON_DEPTH} levels deep"));
        }
        Value::String(text) => nul(text),
        Value::Array(items) => {
            items.iter().try_for_each(|item| check_content(item, depth - 1))?;
            false
        }
        Value::Object(fields) => {
            fields.values().try_for_each(|value| check_content(value, depth - 1))?;
            fields.keys().any(|key| nul(key))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    };
    if has_nul { Err("contains the character U+0000, which PostgreSQL cannot store".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "a test fails by a panic")]
mod tests {
    use super::*;

    fn message(outcome: StepOutcome) -> String {
        match outcome {
            StepOutcome::PermanentError(error) => error["message"].as_str().unwrap().to_owned(),
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn a_result_may_have_one_mebibyte() {
        let text = |bytes: usize| Value::String("x".repeat(bytes - 2));
        assert!(matches!(of_result(Ok(text(MAX_RESULT_BYTES))), StepOutcome::Completed(_)));
        assert_eq!(
            message(of_result(Ok(text(MAX_RESULT_BYTES + 1)))),
            "the result has 1048577 bytes of JSON; the limit is 1048576; \
             store large data elsewhere and return its location"
        );
    }

    #[test]
    fn numbers_have_the_length_that_postgresql_writes() {
        let numbers = |count: usize| Value::from(vec![1e300; count]);
        assert!(matches!(of_result(Ok(numbers(3_000))), StepOutcome::Completed(_)));
        assert!(message(of_result(Ok(numbers(4_000)))).contains("the limit is 1048576"));
    }

    #[test]
    fn what_postgresql_cannot_store_is_a_permanent_error() {
        let nul = "the result contains the character U+0000, which PostgreSQL cannot store";
        assert_eq!(message(of_result(Ok(json!({"a": ["b\0"]})))), nul);
        assert_eq!(message(of_result(Ok(json!({"a\0": 1})))), nul);
        assert!(matches!(of_result(Ok(json!("\\u0000"))), StepOutcome::Completed(_)));
    }

    #[test]
    fn deep_nesting_is_a_permanent_error() {
        let nested = |depth| (1..depth).fold(json!([]), |inner, _| json!([inner]));
        assert!(matches!(of_result(Ok(nested(100))), StepOutcome::Completed(_)));
        assert_eq!(message(of_result(Ok(nested(101)))), "the result is nested more than 100 levels deep");
    }

    #[test]
    fn a_wait_that_cannot_be_is_a_permanent_error() {
        let waits = |wait: Wait| of_result(Err(HandlerError::Waiting(wait)));
        let for_signal = |name: &str| Wait { signal: Some(name.to_owned()), ..Wait::default() };
        assert!(matches!(waits(for_signal(&"ü".repeat(128))), StepOutcome::Waiting(_)));
        for name in ["", "a\0", &"ü".repeat(129)] {
            assert!(message(waits(for_signal(name))).contains("must have 1 to 128 characters"), "{name:?}");
        }
        let wait = Wait { checkpoint: Some(json!("\0")), ..Wait::default() };
        let error = check_wait(&wait).unwrap_err();
        let expected = "bad_checkpoint: the checkpoint contains the character U+0000, which PostgreSQL cannot store";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn messages_are_shortened_and_nul_is_replaced() {
        let outcome = of_result(Err(HandlerError::permanent("\0".to_owned() + &"ü".repeat(5_000))));
        let message = message(outcome);
        assert_eq!(message.chars().count(), 4_000);
        assert!(message.starts_with("\u{fffd}ü"));
    }

    #[test]
    fn the_delay_of_a_retry_is_a_field_of_the_error() {
        let delay = std::time::Duration::from_millis(1500);
        let expected = json!({"kind": "error", "message": "later", "retry_after_ms": 1500});
        let outcome = of_result(Err(HandlerError::retryable("later").with_retry_after(delay)));
        assert_eq!(outcome, StepOutcome::RetryableError(expected));
        let permanent = HandlerError::permanent("never").with_retry_after(delay);
        assert_eq!(permanent, HandlerError::permanent("never"));
    }

    #[test]
    fn a_wait_has_an_end_that_postgresql_can_store_and_a_signal_that_can_be_sent() {
        let wait_for = |name: &str| of_result(Err(HandlerError::wait_for(name, None)));
        let longest = Duration::from_secs(366 * 86_400);
        assert!(matches!(of_result(Err(HandlerError::sleep(longest))), StepOutcome::Waiting(_)));
        assert!(matches!(wait_for(&"ü".repeat(128)), StepOutcome::Waiting(_)));
        for longer in [longest + Duration::from_secs(1), Duration::MAX] {
            assert_eq!(message(of_result(Err(HandlerError::sleep(longer)))), "a step can wait for 366 days at most");
        }
        for name in ["", "a\0", &"x".repeat(129)] {
            assert!(message(wait_for(name)).starts_with("the handler waits for a signal that nobody can send"));
        }
    }

    #[test]
    fn a_panic_keeps_its_message() {
        let payload = std::panic::catch_unwind(|| panic!("row {} is odd", 3)).unwrap_err();
        assert_eq!(
            of_panic(&*payload),
            StepOutcome::RetryableError(json!({"kind": "panic", "message": "row 3 is odd"}))
        );
    }
}
