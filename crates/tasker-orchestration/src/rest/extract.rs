//! Reading requests, with problem documents for what cannot be read.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tasker_api::json;
use uuid::Uuid;

use super::error::ApiError;
use crate::server::State;

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A JSON body that may be left out.
pub(crate) struct OptionalJsonBody<T>(pub(crate) T);

/// A body of YAML or JSON text.
pub(crate) struct YamlBody(pub(crate) String);

/// A query string.
pub(crate) struct QueryString<T>(pub(crate) T);

/// Names in the path.
pub(crate) struct InPath<T>(pub(crate) T);

/// The id of a task in the path.
pub(crate) struct TaskId(pub(crate) Uuid);

impl<T: DeserializeOwned> FromRequest<Arc<State>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, ApiError> {
        require_type(&request, &["application/json"])?;
        parse(&body(request, state).await?).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Arc<State>> for OptionalJsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, ApiError> {
        let typed = require_type(&request, &["application/json"]);
        let bytes = body(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        typed?;
        parse(&bytes).map(Self)
    }
}

impl FromRequest<Arc<State>> for YamlBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, ApiError> {
        require_type(
            &request,
            &["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "application/json"],
        )?;
        let bytes = body(request, state).await?;
        String::from_utf8(bytes.into())
            .map(Self)
            .map_err(|error| ApiError::malformed(format!("the body is not UTF-8: {error}")))
    }
}

impl<T: DeserializeOwned> FromRequestParts<Arc<State>> for QueryString<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        without_nul("query", parts.uri.query().unwrap_or_default())?;
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(query)| Self(query))
            .map_err(|rejection| ApiError::malformed(rejection.body_text()))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<State>> for InPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        without_nul("path", parts.uri.path())?;
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(path)| Self(path))
            .map_err(|rejection| ApiError::malformed(rejection.body_text()))
    }
}

impl FromRequestParts<Arc<State>> for TaskId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        #[derive(serde::Deserialize)]
        struct Id {
            task_uuid: String,
        }
        let InPath(path): InPath<Id> = InPath::from_request_parts(parts, state).await?;
        path.task_uuid
            .parse()
            .map(Self)
            .map_err(|error| ApiError::malformed(format!("'{}' is not a task's UUID: {error}", path.task_uuid)))
    }
}

/// Requires a type that browsers do not send to other sites without asking: a page somewhere must not create tasks on a laptop.
fn require_type(request: &Request, wanted: &[&str]) -> Result<(), ApiError> {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
    let essence = given.split(';').next().unwrap_or_default().trim();
    if wanted.iter().any(|wanted| essence.eq_ignore_ascii_case(wanted)) {
        Ok(())
    } else {
        Err(ApiError::wrong_type(wanted[0], given))
    }
}

async fn body(request: Request, state: &State) -> Result<Bytes, ApiError> {
    let limit = state.settings.max_body_bytes;
    let body: Body = request.into_body();
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        // Either the limit was met or the connection broke; nobody hears of the latter.
        tracing::debug!(%error, "a body was not read");
        ApiError::too_large(format!("a request's body may have {limit} bytes"))
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    json::parse(bytes).map_err(|error| ApiError::malformed(format!("the body is not as expected: {error}")))
}

/// PostgreSQL cannot look up a text with a NUL character. A part of an address has one only if it is encoded.
fn without_nul(what: &str, text: &str) -> Result<(), ApiError> {
    if text.contains("%00") {
        return Err(ApiError::malformed(format!("the {what} has a NUL character (%00), which no name can have")));
    }
    Ok(())
}
