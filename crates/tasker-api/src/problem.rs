//! Errors of the APIs: problem documents of RFC 9457.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of [`Problem`].
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// A problem document (RFC 9457): what was wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Which kind of problem this is: a stable name, as a URI reference such as `/problems/template-not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words, the same for every problem of the kind.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What was wrong this time, and what to do about it.
    pub detail: String,
    /// The places in the request that were wrong, where there are such.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One wrong place in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the request's `context`, or `line:column` in a template.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}
