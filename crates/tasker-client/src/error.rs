//! Why a call failed.

use std::error::Error;
use std::time::Duration;

use tasker_api::{Problem, TaskDetail};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is not valid.
    #[error("'{url}' is not the address of an API such as http://127.0.0.1:8080: {reason}")]
    BadUrl {
        /// The address that was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The API key is not valid in a header.
    #[error("the API key is not valid: it must be ASCII letters, digits and punctuation, without spaces")]
    BadApiKey,
    /// The place in a trace is not valid.
    #[error("'{0}' is not a W3C traceparent such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    BadTraceparent(String),
    /// Https is not possible, usually because the machine's certificates cannot be read.
    #[error("cannot use https: {0}")]
    Tls(#[from] rustls::Error),
    /// The connection failed, or broke before the response was complete.
    #[error("cannot reach {url}: {}", root_cause(source.as_ref()))]
    Unreachable {
        /// The requested address.
        url: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There was no response in time. Whether the request was carried out is unknown.
    #[error("{url} did not respond within {} s", limit.as_secs_f64())]
    Timeout {
        /// The requested address.
        url: String,
        /// How long the client waited.
        limit: Duration,
    },
    /// The API refused the request with a reason.
    #[error("{}", describe(.0))]
    Problem(Box<Problem>),
    /// The response is not one of Tasker's API. Something else may listen at the address.
    #[error("{url} responded with {status}, but not as Tasker does: {reason}")]
    UnexpectedResponse {
        /// The requested address.
        url: String,
        /// The status code.
        status: u16,
        /// What is wrong with the response.
        reason: String,
    },
    /// The task was not at rest within the caller's time limit. It continues.
    #[error("task {} is still {} after {} s", task.summary.task_uuid, task.summary.status, waited.as_secs_f64())]
    NotAtRest {
        /// The task as it was last seen.
        task: Box<TaskDetail>,
        /// The caller's time limit.
        waited: Duration,
    },
}

/// The detail, and the errors that it does not mention.
fn describe(problem: &Problem) -> String {
    let mut text = if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() };
    for error in problem.errors.iter().filter(|error| !problem.detail.contains(&error.message)) {
        text.push_str(&format!("\n  {}: {}", error.pointer, error.message));
    }
    text
}

/// The innermost error, usually the operating system's.
fn root_cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
