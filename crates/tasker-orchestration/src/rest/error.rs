//! Errors as problem documents (RFC 9457).

use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tasker_api::{FieldError, PROBLEM_CONTENT_TYPE, Problem, RequestError};
use tasker_engine::{Failure, message};

use crate::services::batches::WriteError;

/// An error that the client receives.
#[derive(Debug)]
pub(crate) struct ApiError {
    problem: Box<Problem>,
    database: Option<DatabaseError>,
}

/// An extension of a response: the database could not be used. The observer of requests logs it, once for many.
#[derive(Debug, Clone)]
pub(super) enum DatabaseError {
    /// It refused a write, with this message.
    NotWritable(String),
    /// It did not respond.
    Unavailable(String),
}

impl ApiError {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let problem = Box::new(Problem {
            kind: format!("/problems/{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        });
        Self { problem, database: None }
    }

    fn with(mut self, errors: Vec<FieldError>) -> Self {
        self.problem.errors = errors;
        self
    }

    /// 400: the request is malformed.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", "The request is malformed", detail)
    }

    /// 401: the request carries no valid key or token.
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "The request has no valid key or token", detail)
    }

    /// 403: the key or token lacks a scope.
    pub(crate) fn missing_scope(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "missing-scope", "The key or token does not allow this", detail)
    }

    /// 403: the request comes from a page of another web site.
    pub(crate) fn cross_site(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "cross-site", "The request comes from another web site", detail)
    }

    /// 403: the key or token does not cover a namespace.
    pub(crate) fn namespace_denied(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "namespace-denied", "The key or token does not cover this namespace", detail)
    }

    /// 404: there is no such path.
    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "Path not found",
            format!("the API has no path {path}; GET /openapi.json describes it"),
        )
    }

    /// 404: there is no such task, template or step.
    pub(crate) fn not_found(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, &format!("{kind}-not-found"), &format!("There is no such {kind}"), detail)
    }

    /// 405: the path does not accept this method.
    pub(crate) fn wrong_method(method: &Method, path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong-method",
            "Method not allowed",
            format!("{path} does not accept {method}; GET /openapi.json describes the API"),
        )
    }

    /// 408: the body did not arrive in time.
    pub(crate) fn body_timeout(limit: Duration) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            "The request body did not arrive in time",
            format!("a client has {} ms to send a body (orchestration.body_timeout_ms)", limit.as_millis()),
        )
    }

    /// 409: the current state does not allow this.
    pub(crate) fn conflict(kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title, detail)
    }

    /// 413: the body, or a part of it, is over the limit.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The request body is too large", detail)
    }

    /// 415: the body has the wrong media type or encoding.
    pub(crate) fn wrong_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong-content-type",
            "The request body has the wrong media type or encoding",
            detail,
        )
    }

    /// 421: the request is meant for another host.
    pub(crate) fn wrong_host(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", "The server does not know this host name", detail)
    }

    /// 422: the content of the request is invalid.
    pub(crate) fn invalid(kind: &str, title: &str, detail: impl Into<String>, errors: Vec<FieldError>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title, detail).with(errors)
    }

    /// 500: a bug of the server.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal server error",
            "this is a bug of the server; its log has the details",
        )
    }

    /// 503: temporarily unavailable.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service is temporarily unavailable", detail)
    }

    /// 503: all connections are in use.
    pub(crate) fn too_many_connections() -> Self {
        Self::unavailable("all connections are in use (orchestration.max_connections); try again")
    }

    /// 503: other requests have taken the memory for bodies.
    pub(crate) fn too_many_bodies(limit: usize) -> Self {
        Self::unavailable(format!(
            "the bodies of other requests take all of their {limit} bytes (orchestration.max_bodies_bytes); try again"
        ))
    }

    /// An item of a batch was not written. `unconfirmed` says what to do if the database did not respond.
    pub(super) fn not_written(error: WriteError, unconfirmed: &str) -> Self {
        let WriteError::Database { message, failure } = error else {
            return Self::unavailable(error.to_string());
        };
        match failure {
            Failure::Unavailable => Self::no_response(unconfirmed, message),
            Failure::NotWritable => Self::not_writable(message),
            Failure::BadData => Self::malformed(format!("PostgreSQL cannot store this: {message}")),
            Failure::Bug => {
                tracing::error!(error = message, "a batch could not be written");
                Self::internal()
            }
        }
    }

    /// 503: the database does not respond.
    fn no_response(detail: &str, message: String) -> Self {
        Self { database: Some(DatabaseError::Unavailable(message)), ..Self::unavailable(detail) }
    }

    /// 503: the database can be read but not written.
    fn not_writable(message: String) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-writable",
            "The database cannot be written",
            format!("nothing was stored; try again later. PostgreSQL says: {message}"),
        );
        error.database = Some(DatabaseError::NotWritable(message));
        error
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Malformed(detail) => Self::malformed(detail),
            RequestError::TooLarge(detail) => Self::too_large(detail),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        match Failure::of(&error) {
            Failure::Unavailable => Self::no_response("the database does not respond; try again", error.to_string()),
            Failure::NotWritable => Self::not_writable(error.to_string()),
            Failure::BadData => Self::malformed(format!("the database refuses this: {}", message(&error))),
            Failure::Bug => {
                tracing::error!(%error, "a query failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(*self.problem)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(error) = self.database {
            response.extensions_mut().insert(error);
        }
        response
    }
}
