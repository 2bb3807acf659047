//! Reads the parts of requests. What is malformed becomes a problem document.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tasker_api::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::bodies;
use super::error::ApiError;
use super::state::State;

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A JSON body that may be empty or `null`.
pub(crate) struct OptionalJsonBody<T>(pub(crate) T);

/// The body of a request that has nothing to say. The request needs the media type nevertheless: a form of another web
/// site can send an empty body. The body itself may be absent.
#[derive(Debug, Default, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyBody {}

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
        // An empty body needs the type too: a form of another web site can send an empty body.
        require_type(&request, &["application/json"])?;
        let bytes = body(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        parse::<Option<T>>(&bytes).map(Option::unwrap_or_default).map(Self)
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
            .map_err(|error| ApiError::malformed(format!("'{}' is not the UUID of a task: {error}", path.task_uuid)))
    }
}

/// Requires a media type that browsers do not send to another site without asking it first, so that no page of
/// another site can create tasks. Compressed bodies are refused too.
fn require_type(request: &Request, wanted: &[&str]) -> Result<(), ApiError> {
    let headers = request.headers();
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !wanted.iter().any(|wanted| essence.eq_ignore_ascii_case(wanted)) {
        return Err(ApiError::wrong_type(format!("send the header `Content-Type: {}`, not {given}", wanted[0])));
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(ApiError::wrong_type(
            "the body has a Content-Encoding, which this server does not support; send it uncompressed",
        )),
        _ => Ok(()),
    }
}

async fn body(request: Request, state: &State) -> Result<Bytes, ApiError> {
    let timeout = state.settings.body_timeout();
    tokio::time::timeout(timeout, bodies::read(state, request, state.settings.max_body_bytes))
        .await
        .unwrap_or_else(|_| Err(ApiError::body_timeout(timeout)))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let refused = |why: &dyn Display| ApiError::malformed(format!("the request body is not valid: {why}"));
    // serde also reads a struct from an array of its fields.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(refused(&"it must be a JSON object, not an array"));
    }
    json::parse(bytes).map_err(|error| refused(&error))
}

/// Refuses an encoded NUL character: PostgreSQL cannot look up a text that contains one.
fn without_nul(what: &str, text: &str) -> Result<(), ApiError> {
    if text.contains("%00") {
        return Err(ApiError::malformed(format!("the {what} contains a NUL character (%00), which no name can have")));
    }
    Ok(())
}
