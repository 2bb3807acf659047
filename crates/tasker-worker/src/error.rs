//! The errors that handlers return.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use tasker_engine::Wait;

/// What a handler returns: the step's result as JSON, up to [`MAX_RESULT_BYTES`](tasker_api::limits::MAX_RESULT_BYTES),
/// or the reason why the attempt did not complete the step.
pub type HandlerResult = Result<Value, HandlerError>;

/// Why an attempt did not complete its step.
///
/// The operator `?` turns every other error into a retryable one and adds the causes to the message. For that reason
/// this type is not an [`Error`] itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerError {
    /// Another attempt may succeed. The step's retry policy decides whether and when there is one.
    Retryable {
        /// The kind of error: a stable name for programs, such as `payment_provider_down`.
        kind: String,
        /// What happened, for people.
        message: String,
        /// How long to wait before the next attempt. None for the delay of the step's retry policy.
        retry_after: Option<Duration>,
    },
    /// Every attempt would fail. The step fails at once.
    Permanent {
        /// The kind of error: a stable name for programs, such as `card_declined`.
        kind: String,
        /// What happened, for people.
        message: String,
    },
    /// Nothing failed. The step continues later, with a new attempt that is not counted. Until then it costs no slot.
    Waiting(Wait),
}

impl HandlerError {
    /// The step continues after this time, at the latest.
    pub fn sleep(delay: Duration) -> Self {
        Self::Waiting(Wait { delay: Some(delay), ..Wait::default() })
    }

    /// The step continues when its task receives this signal, or after the time limit. Its next attempt finds the payload
    /// in [`StepContext::signal`](crate::StepContext::signal). A signal that arrived earlier counts.
    pub fn wait_for(signal: impl Into<String>, time_limit: Option<Duration>) -> Self {
        Self::Waiting(Wait { delay: time_limit, signal: Some(signal.into()), checkpoint: None })
    }

    /// The step stores this value and continues at once. Its next attempt finds it in
    /// [`StepContext::checkpoint`](crate::StepContext::checkpoint), also after a crash.
    pub fn checkpoint(value: Value) -> Self {
        Self::Waiting(Wait { checkpoint: Some(value), ..Wait::default() })
    }

    /// Stores a value for the next attempt of a step that waits. An error stays as it is.
    #[must_use]
    pub fn with_checkpoint(self, value: Value) -> Self {
        match self {
            Self::Waiting(wait) => Self::Waiting(Wait { checkpoint: Some(value), ..wait }),
            error => error,
        }
    }

    /// Creates a retryable error of kind `error`.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::Retryable { kind: "error".to_owned(), message: message.into(), retry_after: None }
    }

    /// Creates a permanent error of kind `error`.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent { kind: "error".to_owned(), message: message.into() }
    }

    /// Replaces the kind.
    #[must_use]
    pub fn with_kind(self, kind: impl Into<String>) -> Self {
        match self {
            Self::Retryable { message, retry_after, .. } => Self::Retryable { kind: kind.into(), message, retry_after },
            Self::Permanent { message, .. } => Self::Permanent { kind: kind.into(), message },
            waiting @ Self::Waiting(_) => waiting,
        }
    }

    /// Sets the delay of the next attempt, which replaces the delay of the step's retry policy. The number of attempts
    /// stays limited. A permanent error has no next attempt and stays as it is, and so does a wait.
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        match self {
            Self::Retryable { kind, message, .. } => Self::Retryable { kind, message, retry_after: Some(delay) },
            other => other,
        }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retryable { kind, message, .. } | Self::Permanent { kind, message } => write!(f, "{kind}: {message}"),
            Self::Waiting(_) => f.write_str("the step waits"),
        }
    }
}

impl<E: Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors already include their cause.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self::retryable(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_errors_are_retryable_and_keep_their_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot reach the warehouse")]
        struct Outer(#[source] std::io::Error);

        fn handler() -> HandlerResult {
            Err(Outer(std::io::Error::other("no route")))?
        }
        assert_eq!(handler(), Err(HandlerError::retryable("cannot reach the warehouse: no route")));
    }

    #[test]
    fn the_kind_can_be_replaced() {
        let error = HandlerError::permanent("the bank said no").with_kind("card_declined");
        assert_eq!(error.to_string(), "card_declined: the bank said no");
    }
}
