//! The errors that handlers return.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// What a handler returns: the step's result as JSON, up to [`MAX_RESULT_BYTES`](tasker_api::limits::MAX_RESULT_BYTES),
/// or the reason why the attempt failed.
pub type HandlerResult = Result<Value, HandlerError>;

/// Why an attempt failed.
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
}

impl HandlerError {
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
        }
    }

    /// Sets the delay of the next attempt, which replaces the delay of the step's retry policy. The number of attempts
    /// stays limited. A permanent error has no next attempt and stays as it is.
    #[must_use]
    pub fn with_retry_after(self, delay: Duration) -> Self {
        match self {
            Self::Retryable { kind, message, .. } => Self::Retryable { kind, message, retry_after: Some(delay) },
            permanent @ Self::Permanent { .. } => permanent,
        }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Retryable { kind, message, .. } | Self::Permanent { kind, message }) = self;
        write!(f, "{kind}: {message}")
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
