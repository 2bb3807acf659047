//! Reading requests, with problem documents for what cannot be read.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
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
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(query)| Self(query))
            .map_err(|rejection| ApiError::malformed(rejection.body_text()))
    }
}

impl FromRequestParts<Arc<State>> for TaskId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, ApiError> {
        #[derive(serde::Deserialize)]
        struct InPath {
            task_uuid: String,
        }
        let Path(path): Path<InPath> = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::malformed(rejection.body_text()))?;
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
        ApiError::too_large(limit)
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| error.to_string())
        .and_then(|value| json.end().map(|()| value).map_err(|error| error.to_string()))
        .map_err(|error| ApiError::malformed(format!("the body is not as expected: {error}")))
}
