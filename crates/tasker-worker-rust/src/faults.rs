//! Handlers that fail as configured.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tasker_worker::{HandlerError, HandlerResult, StepContext};

/// Fails in the first attempts.
pub(crate) async fn fail_times(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Settings {
        failures: i16,
    }
    let Settings { failures } = step.initialization()?;
    let attempt = step.attempt();
    if attempt <= failures {
        return Err(HandlerError::retryable(format!(
            "attempt {attempt} fails, as configured for the first {failures} attempts"
        )));
    }
    Ok(json!({"attempts": attempt}))
}

/// Fails permanently.
pub(crate) async fn permanent(_: StepContext) -> HandlerResult {
    Err(HandlerError::permanent("this step fails permanently, as configured"))
}

/// Sleeps.
pub(crate) async fn sleep(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Settings {
        ms: Option<u64>,
    }
    let ms = match step.initialization::<Settings>()?.ms {
        Some(ms) => ms,
        None => step.input::<Settings>()?.ms.unwrap_or_default(),
    };
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => Ok(json!({"slept_ms": ms})),
        () = step.cancelled() => Err(HandlerError::retryable("cancelled while asleep")),
    }
}

/// Panics.
#[expect(clippy::panic, reason = "the purpose of this handler")]
pub(crate) async fn panic(_: StepContext) -> HandlerResult {
    panic!("this handler panics, as configured")
}

/// Returns the task's context.
pub(crate) async fn echo(step: StepContext) -> HandlerResult {
    Ok(Value::clone(step.context()))
}
