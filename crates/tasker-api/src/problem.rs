//! Errors of the APIs: problem documents of RFC 9457.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of [`Problem`].
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// A problem document (RFC 9457): what was wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind of the problem: a stable name, written as a URI reference such as `/problems/template-not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words. It is the same for all problems of the kind.
    pub title: String,
    /// The HTTP status code.
    pub status: u16,
    /// What was wrong with this request, and what to do about it.
    pub detail: String,
    /// The wrong places in the request, if they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One wrong place in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The place: a JSON pointer (RFC 6901) into the `context` of the request, or `line:column` in a template.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}
