//! Errors as problem documents (RFC 9457).

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tasker_api::{FieldError, PROBLEM_CONTENT_TYPE, Problem, RequestError};

/// An error that a client is told.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Problem>);

impl ApiError {
    fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            kind: format!("/problems/{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }))
    }

    fn with(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// 400: the request cannot be read.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", "The request cannot be read", detail)
    }

    /// 401: it is not known who asks.
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "The request has no key or token that counts", detail)
    }

    /// 403: who asks may not do this.
    pub(crate) fn missing_scope(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "missing-scope", "The key or token does not allow this", detail)
    }

    /// 404: no such path.
    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "There is nothing at this path",
            format!("the API has no path {path}; GET /openapi.json describes it"),
        )
    }

    /// 404: no such thing.
    pub(crate) fn not_found(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, &format!("{kind}-not-found"), &format!("There is no such {kind}"), detail)
    }

    /// 405: the path does not take this method.
    pub(crate) fn wrong_method(method: &Method, path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong-method",
            "The path does not take this method",
            format!("{path} does not take {method}; GET /openapi.json describes the API"),
        )
    }

    /// 409: it is not possible as things are.
    pub(crate) fn conflict(kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title, detail)
    }

    /// 413: the body, or a part of it, is over the limit.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The request's body is too large", detail)
    }

    /// 415: the body is of another type.
    pub(crate) fn wrong_type(wanted: &str, given: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong-content-type",
            "The request's body is of a type that is not taken here",
            format!("send the header `Content-Type: {wanted}`, not {given}"),
        )
    }

    /// 422: the request can be read, and is wrong.
    pub(crate) fn invalid(kind: &str, title: &str, detail: impl Into<String>, errors: Vec<FieldError>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title, detail).with(errors)
    }

    /// 500: a bug of ours.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The server made a mistake",
            "the server's log says more",
        )
    }

    /// 503: not now.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service is not available now", detail)
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
        match &error {
            // Classes 08, 53, 57: the connection, resources, the server's shutdown.
            sqlx::Error::Database(database)
                if !database
                    .code()
                    .is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class))) =>
            {
                tracing::error!(%error, "a query failed");
                Self::internal()
            }
            sqlx::Error::Database(_)
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Protocol(_) => {
                tracing::warn!(%error, "the database does not answer");
                Self::unavailable("the database does not answer; try again")
            }
            _ => {
                tracing::error!(%error, "a query failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(*self.0)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_CONTENT_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
