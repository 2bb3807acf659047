//! Keeps pages of other web sites away from the API. A browser on this machine or in this network can reach the
//! server, and it runs the scripts of any site. `docs/security.md` is the page for users.
//!
//! - A browser says when a page of another site makes a request (`Sec-Fetch-Site`, `Origin`). Such a request is
//!   always refused.
//! - With DNS rebinding, a site lets its own name point to this server, and its pages look as if they came from
//!   here. So if the server has no keys, it responds only to its own names.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Which hosts and origins are the server's own.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    /// Names by which clients may address the server, besides `localhost` and IP addresses.
    pub(crate) allowed_hosts: Vec<String>,
    /// Whether requests need a key. A page of another site has none, so any name will do.
    pub(crate) keys: bool,
}

/// Refuses requests from pages of other web sites.
pub(super) async fn guard(State(origins): State<std::sync::Arc<Origins>>, request: Request, next: Next) -> Response {
    match origins.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

impl Origins {
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let headers = request.headers();
        // In the absolute form of a request, the address takes the place of the header (RFC 9112, section 3.2.2).
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.clone()),
            None => match text(headers, &header::HOST)? {
                Some(host) => Some(host.parse().map_err(|_| ApiError::malformed("the header Host is not valid"))?),
                None => None,
            },
        };
        // Browsers always send the header. HTTP/1.0 clients may not.
        if let Some(host) = host.as_ref().filter(|host| !self.keys && !self.is_own(host.host())) {
            return Err(ApiError::wrong_host(format!(
                "the server has no keys, so it responds only to localhost, IP addresses and the names in \
                 orchestration.allowed_hosts, not to {}",
                host.host()
            )));
        }
        // A link on another site may open the console. The page itself holds no data.
        let opens_console = request.method() == Method::GET && request.uri().path() == "/";
        if text(headers, &SEC_FETCH_SITE)?
            .filter(|_| !opens_console)
            .is_some_and(|site| site.eq_ignore_ascii_case("cross-site"))
        {
            return Err(ApiError::cross_site("a browser sent this request for a page of another web site"));
        }
        match text(headers, &header::ORIGIN)? {
            Some(origin) if !self.is_same(origin, host.as_ref()) => Err(ApiError::cross_site(format!(
                "a browser sent this request for a page of {origin}, not of this server"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a request for this host is meant for the server. No site can let an IP address point elsewhere.
    fn is_own(&self, host: &str) -> bool {
        let ip = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        ip.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost") || self.is_allowed(host)
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// Whether a page of this origin belongs to the server: it has the same host and port, or a host of the
    /// settings, because behind a proxy the port differs. The scheme does not matter, for the same reason.
    fn is_same(&self, origin: &str, host: Option<&Authority>) -> bool {
        let Some((_, origin)) = origin.split_once("://") else { return false };
        let Ok(origin) = origin.parse::<Authority>() else { return false };
        self.is_allowed(origin.host()) || host.is_some_and(|host| origin == *host)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(ApiError::malformed(format!("the header {name} is given twice")));
    }
    let not_ascii = |_| ApiError::malformed(format!("the header {name} is not ASCII text"));
    first.map(|value| value.to_str().map_err(not_ascii)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(keys: bool, headers: &[(&str, &str)]) -> u16 {
        let origins = Origins { allowed_hosts: vec!["tasker.internal".to_owned()], keys };
        let mut request = axum::http::Request::builder().uri("/v1/tasks");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        origins.check(&request).map_or_else(|error| error.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn without_keys_only_own_names_are_served() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "[::1]:8080", "10.0.0.5", "Tasker.Internal:80"] {
            assert_eq!(status(false, &[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "1"] {
            assert_eq!(status(false, &[("host", host)]), 421, "{host}");
            assert_eq!(status(true, &[("host", host)]), 200, "{host}");
        }
        assert_eq!(status(false, &[("host", "a b")]), 400);
        assert_eq!(status(false, &[("host", "localhost"), ("host", "evil.example")]), 400);
    }

    #[test]
    fn pages_of_other_sites_are_refused_with_keys_too() {
        for keys in [false, true] {
            let origin = |origin: &str| status(keys, &[("host", "localhost:8080"), ("origin", origin)]);
            for own in ["http://localhost:8080", "https://LOCALHOST:8080", "https://tasker.internal"] {
                assert_eq!(origin(own), 200, "{own}");
            }
            for foreign in
                ["https://evil.example", "http://localhost:3000", "http://127.0.0.1:8080", "null", "", "file://"]
            {
                assert_eq!(origin(foreign), 403, "{foreign}");
            }
            let site = |site: &str| status(keys, &[("host", "localhost"), ("sec-fetch-site", site)]);
            assert_eq!(site("cross-site"), 403);
            for own in ["same-origin", "same-site", "none"] {
                assert_eq!(site(own), 200, "{own}");
            }
        }
    }
}
