//! Who may ask for what: API keys and signed tokens, each with scopes. `docs/access.md` is the page for users.
//!
//! Neither keys nor tokens are ever logged, shown in errors, or kept: a key is compared by its digest.

mod token;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tasker_runtime::settings::{self, Scope, SettingsError};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

pub use self::token::BadKey;
use self::token::Verifier;
use super::error::ApiError;

/// Where a key may stand instead of `Authorization: Bearer`.
const KEY_HEADER: &str = "x-api-key";

/// The keys and what they allow.
#[derive(Debug)]
pub(crate) struct Access {
    keys: Vec<Key>,
    verifier: Option<Verifier>,
}

struct Key {
    digest: [u8; 32],
    scopes: Vec<Scope>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// Why the keys of the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// A key cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The public key for tokens cannot be used.
    #[error("the public key for tokens (JWT_PUBLIC_KEY, or jwt_public_key in the settings) cannot be used: {0}")]
    BadKey(#[from] BadKey),
}

/// Why a request is not carried out.
#[derive(Debug)]
enum Refusal {
    Unknown(&'static str),
    Missing(Scope),
}

impl Access {
    /// Reads the keys.
    pub(crate) fn new(settings: &settings::Access) -> Result<Self, AccessError> {
        let mut keys = Vec::new();
        for key in &settings.keys {
            keys.push(Key { digest: key.digest()?, scopes: key.scopes.clone() });
        }
        let verifier = match settings.jwt_public_key_pem()? {
            Some(pem) => Some(Verifier::new(&pem, &settings.jwt_issuer, &settings.jwt_audience)?),
            None => None,
        };
        Ok(Self { keys, verifier })
    }

    /// Whether there is no key: everybody may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.keys.is_empty() && self.verifier.is_none()
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let Some(needed) = needed_scope(request.method(), request.uri().path()) else { return Ok(()) };
        if self.is_open() || self.scopes_of(request.headers())?.contains(&needed) {
            Ok(())
        } else {
            Err(Refusal::Missing(needed))
        }
    }

    /// What the sender of these headers may do.
    fn scopes_of(&self, headers: &HeaderMap) -> Result<Vec<Scope>, Refusal> {
        let Some(credential) = credential(headers)? else {
            return Err(Refusal::Unknown(
                "send an API key or a token in the header `Authorization: Bearer ...`, or a key in `X-API-Key`",
            ));
        };
        // Every key is compared with, in constant time: how long it takes tells nothing.
        let digest: [u8; 32] = Sha256::digest(credential).into();
        let mut found = None;
        for key in &self.keys {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(key);
            }
        }
        match (found, &self.verifier) {
            (Some(key), _) => Ok(key.scopes.clone()),
            (None, Some(verifier)) if credential.contains('.') => {
                verifier.verify(credential, chrono::Utc::now()).map_err(Refusal::Unknown)
            }
            _ => Err(Refusal::Unknown("no API key is like the one that was sent")),
        }
    }
}

/// What the route needs; none for what everybody may see. What is not listed, even what does not exist, needs a scope.
fn needed_scope(method: &Method, path: &str) -> Option<Scope> {
    match (method.as_str(), path) {
        ("GET" | "HEAD", "/health" | "/health/live" | "/health/ready" | "/openapi.json") => None,
        ("GET" | "HEAD", _) => Some(Scope::Read),
        ("POST", "/v1/tasks") => Some(Scope::Submit),
        _ => Some(Scope::Operate),
    }
}

/// The key or token that was sent, if any.
fn credential(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let text = |given| HeaderValue::to_str(given).map_err(|_| Refusal::Unknown("keys and tokens are ASCII text"));
    if let Some(given) = headers.get(header::AUTHORIZATION) {
        return match text(given)?.split_once(' ') {
            Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(credential.trim())),
            _ => Err(Refusal::Unknown("the header Authorization must be `Bearer` and an API key or a token")),
        };
    }
    headers.get(KEY_HEADER).map(text).transpose()
}

fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Submit => "submit",
        Scope::Operate => "operate",
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (error, challenge) = match self {
            Self::Unknown(detail) => (ApiError::unauthenticated(detail), "Bearer realm=\"tasker\""),
            Self::Missing(scope) => (
                ApiError::missing_scope(format!(
                    "this needs the scope `{}`, which the key or token lacks",
                    name(scope)
                )),
                match scope {
                    Scope::Read => "Bearer realm=\"tasker\", error=\"insufficient_scope\", scope=\"read\"",
                    Scope::Submit => "Bearer realm=\"tasker\", error=\"insufficient_scope\", scope=\"submit\"",
                    Scope::Operate => "Bearer realm=\"tasker\", error=\"insufficient_scope\", scope=\"operate\"",
                },
            ),
        };
        let mut response = error.into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        response
    }
}

/// Lets through who may do what the request asks.
pub(super) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Adds to the API's description how callers show who they are.
pub(super) fn describe(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_with(Default::default);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key, or a token (JWT, RS256) with the claims exp and scope"))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
    document.security = Some(vec![
        SecurityRequirement::new("bearer", Vec::<String>::new()),
        SecurityRequirement::new("key", Vec::<String>::new()),
    ]);
}
