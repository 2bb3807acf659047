//! Refused requests: their responses, their log lines, and the delay for addresses that keep failing.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tasker_runtime::settings::Scope;

use super::principal::Principal;
use super::throttle::Throttle;
use crate::rest::error::ApiError;

/// The shortest time between two log lines about refused requests.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The response to a request without a valid key or token.
pub(super) fn unauthenticated(reason: &str) -> Response {
    respond(ApiError::unauthenticated(reason), "Bearer realm=\"tasker\"")
}

/// The response to a request whose key or token lacks a scope.
pub(super) fn missing_scope(scope: Scope) -> Response {
    let (name, challenge) = match scope {
        Scope::Read => ("read", "Bearer realm=\"tasker\", error=\"insufficient_scope\", scope=\"read\""),
        Scope::Submit => ("submit", "Bearer realm=\"tasker\", error=\"insufficient_scope\", scope=\"submit\""),
        Scope::Operate => ("operate", "Bearer realm=\"tasker\", error=\"insufficient_scope\", scope=\"operate\""),
    };
    let detail = format!("this request needs the scope `{name}`, which the key or token does not have");
    respond(ApiError::missing_scope(detail), challenge)
}

fn respond(error: ApiError, challenge: &'static str) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

/// What the log says about a request. It never holds the key or token.
#[derive(Debug)]
pub(super) struct Source {
    client: Option<IpAddr>,
    method: Method,
    route: Option<MatchedPath>,
}

impl Source {
    pub(super) fn of(request: &Request) -> Self {
        let client = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            client: client.map(|ConnectInfo(address)| address.ip().to_canonical()),
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
        }
    }

    fn log(&self, principal: Option<&str>, reason: &str, unlogged: u64) {
        let client = self.client.map(tracing::field::display);
        let route = self.route.as_ref().map_or("none", MatchedPath::as_str);
        tracing::warn!(client, method = %self.method, route, principal, reason, unlogged, "refused a request");
    }
}

/// Logs refused requests, and slows down addresses that keep failing.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    throttle: Throttle,
    log: LogLimit,
}

impl Refusals {
    /// Records a request without a valid key or token, and returns how long to delay the response.
    pub(super) fn unauthenticated(&self, source: &Source, reason: &str) -> Duration {
        let now = Instant::now();
        if let Some(unlogged) = self.log.admit(now) {
            source.log(None, reason, unlogged);
        }
        source.client.map_or(Duration::ZERO, |client| self.throttle.failure(client, now))
    }

    /// Records a request that this principal may not make.
    pub(super) fn forbidden(&self, source: &Source, principal: &Principal) {
        if let Some(unlogged) = self.log.admit(Instant::now()) {
            source.log(principal.name(), "a scope or namespace is missing", unlogged);
        }
    }
}

/// Limits how often something is logged.
#[derive(Debug, Default)]
struct LogLimit {
    /// When the last line was logged, and how many lines were left out since.
    last: Mutex<(Option<Instant>, u64)>,
}

impl LogLimit {
    /// Returns how many lines were left out since the last one, or none if this line must be left out, too.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock();
        let (at, unlogged) = *last;
        if at.is_some_and(|at| now < at + LOG_INTERVAL) {
            last.1 += 1;
            return None;
        }
        *last = (Some(now), 0);
        Some(unlogged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_how_many_lines_it_left_out() {
        let limit = LogLimit::default();
        let now = Instant::now();
        let admit = |ms| limit.admit(now + Duration::from_millis(ms));
        assert_eq!([0, 1, 999, 1_000, 1_001, 9_000].map(admit), [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
