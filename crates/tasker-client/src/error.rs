//! Why a call failed.

use std::error::Error;
use std::time::Duration;

use tasker_api::{Problem, TaskDetail};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address of the API cannot be used.
    #[error("'{url}' is not the address of an API such as http://127.0.0.1:8080: {reason}")]
    BadUrl {
        /// The address that was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The API key cannot be sent.
    #[error("an API key is one line of ASCII letters, digits and signs, without spaces; this one is not")]
    BadApiKey,
    /// This machine's certificates, which https needs, cannot be used.
    #[error("cannot use https: {0}")]
    Tls(#[from] rustls::Error),
    /// No connection was made, or it broke before the answer was complete.
    #[error("cannot reach {url}: {}", root_cause(source.as_ref()))]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer did not come in time. Whether the request was carried out is not known.
    #[error("{url} did not answer within {} s", limit.as_secs_f64())]
    Timeout {
        /// What was asked.
        url: String,
        /// How long the client waited.
        limit: Duration,
    },
    /// The API refused the request and says why.
    #[error("{}", describe(.0))]
    Problem(Box<Problem>),
    /// The answer is not one that this API gives: something else may listen at the address.
    #[error("{url} answered {status}, which is not an answer of Tasker: {reason}")]
    UnexpectedResponse {
        /// What was asked.
        url: String,
        /// The status code.
        status: u16,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The task did not come to rest in the time that the caller gave it. It goes on.
    #[error("task {} is still {} after {} s", task.summary.task_uuid, task.summary.status, waited.as_secs_f64())]
    NotAtRest {
        /// The task as it was last seen.
        task: Box<TaskDetail>,
        /// The time that the caller gave it.
        waited: Duration,
    },
}

/// The detail and the wrong places, if the detail does not name them.
fn describe(problem: &Problem) -> String {
    let mut text = if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() };
    for error in problem.errors.iter().filter(|error| !problem.detail.contains(&error.message)) {
        text.push_str(&format!("\n  {}: {}", error.pointer, error.message));
    }
    text
}

/// The innermost error: what the operating system said, where it said something.
fn root_cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
