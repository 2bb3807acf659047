//! Who may do what: API keys and signed tokens, each with scopes and namespaces. `docs/access.md` is the page for
//! users.
//!
//! Keys and tokens are never logged, shown in errors, or stored. A key is compared by its digest.

mod principal;
mod refusal;
mod throttle;
mod token;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tasker_runtime::http::Connection;
use tasker_runtime::settings::{self, Scope, SettingsError};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

pub(crate) use self::principal::Principal;
use self::refusal::{Refusals, Source};
pub use self::token::BadKey;
use self::token::Verifier;
use super::{console, state};

/// The header that may carry a key instead of `Authorization: Bearer`.
const KEY_HEADER: &str = "x-api-key";

/// The keys, and what their holders may do.
#[derive(Debug)]
pub(crate) struct Access {
    keys: Vec<Key>,
    verifier: Option<Verifier>,
    everyone: Arc<Principal>,
    refusals: Refusals,
}

struct Key {
    digest: [u8; 32],
    holder: Arc<Principal>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("holder", &self.holder).finish_non_exhaustive()
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

impl Access {
    /// Reads the keys.
    pub(crate) fn new(settings: &settings::Access) -> Result<Self, AccessError> {
        let keys = settings.keys.iter().zip(settings.key_digests()?).map(|(key, digest)| {
            let holder = Principal::of_key(&key.name, key.scopes.clone(), key.namespaces.clone());
            Key { digest, holder: Arc::new(holder) }
        });
        let keys = keys.collect();
        let verifier = match settings.jwt_public_key_pem()? {
            Some(pem) => Some(Verifier::new(&pem, &settings.jwt_issuer, &settings.jwt_audience)?),
            None => None,
        };
        Ok(Self { keys, verifier, everyone: Arc::new(Principal::everyone()), refusals: Refusals::default() })
    }

    /// Whether there is no key of either kind, so that everyone may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.keys.is_empty() && self.verifier.is_none()
    }

    /// Finds out who sent these headers.
    fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, &'static str> {
        if self.is_open() {
            return Ok(Arc::clone(&self.everyone));
        }
        let Some(credential) = credential(headers)? else {
            return Err(
                "send an API key or a token in the header `Authorization: Bearer ...`, or a key in `X-API-Key`",
            );
        };
        // The digest is compared with every key, each in constant time, so the duration reveals nothing.
        let digest: [u8; 32] = Sha256::digest(credential).into();
        let mut found = None;
        for key in &self.keys {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(key);
            }
        }
        match (found, &self.verifier) {
            (Some(key), _) => Ok(Arc::clone(&key.holder)),
            (None, Some(verifier)) if credential.contains('.') => verifier.verify(credential).map(Arc::new),
            _ => Err("the API key is unknown"),
        }
    }
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// Nothing: everyone may send it.
    Nothing,
    /// Any valid key or token.
    Credential,
    /// A key or token with this scope.
    Scope(Scope),
}

/// Returns what a request needs. Every unknown path needs a scope.
fn needed(method: &Method, path: &str) -> Needed {
    match (method.as_str(), path) {
        ("GET" | "HEAD", "/health" | "/health/live" | "/health/ready" | "/openapi.json") => Needed::Nothing,
        ("GET" | "HEAD", path) if console::is_file(path) => Needed::Nothing,
        ("GET" | "HEAD", "/v1/whoami") => Needed::Credential,
        ("GET" | "HEAD", _) => Needed::Scope(Scope::Read),
        ("POST", "/v1/tasks") => Needed::Scope(Scope::Submit),
        // An application that may create tasks may also tell them that something happened.
        ("POST", path) if is_signal(path) => Needed::Scope(Scope::Submit),
        _ => Needed::Scope(Scope::Operate),
    }
}

/// Whether it is the path of a signal, `/v1/tasks/{task_uuid}/signals/{name}`.
fn is_signal(path: &str) -> bool {
    matches!(path.split('/').collect::<Vec<_>>()[..], ["", "v1", "tasks", _, "signals", _])
}

/// The key or token of a request, if it has one.
fn credential(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let text = |given| HeaderValue::to_str(given).map_err(|_| "keys and tokens are ASCII text");
    if let Some(given) = headers.get(header::AUTHORIZATION) {
        return match text(given)?.split_once(' ') {
            Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(credential.trim())),
            _ => Err("the header Authorization must hold `Bearer`, a space, and an API key or a token"),
        };
    }
    headers.get(KEY_HEADER).map(text).transpose()
}

/// Passes a request on, with its [`Principal`], if the sender may make it. Else refuses it.
pub(super) async fn guard(State(state): State<Arc<state::State>>, mut request: Request, next: Next) -> Response {
    let needed = match needed(request.method(), request.uri().path()) {
        Needed::Nothing => return next.run(request).await,
        Needed::Credential => None,
        Needed::Scope(scope) => Some(scope),
    };
    let refusals = &state.access.refusals;
    let source = Source::of(&request);
    let principal = match state.access.authenticate(request.headers()) {
        Ok(principal) => principal,
        Err(reason) => {
            state.metrics.refused("unauthenticated");
            let delay = refusals.unauthenticated(&source, reason);
            // Otherwise delayed requests could keep others out.
            if let Some(connection) = request.extensions().get::<Connection>() {
                connection.allow_replacement();
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = state.shutdown.cancelled() => {}
            }
            return refusal::unauthenticated(reason);
        }
    };
    let response = match needed.filter(|scope| !principal.has_scope(*scope)) {
        None => {
            request.extensions_mut().insert(Arc::clone(&principal));
            next.run(request).await
        }
        Some(missing) => refusal::missing_scope(missing),
    };
    // Handlers refuse requests for namespaces that the principal may not use.
    if response.status() == StatusCode::FORBIDDEN {
        state.metrics.refused("forbidden");
        refusals.forbidden(&source, &principal);
    }
    response
}

/// Adds the ways to authenticate to the API's description.
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
