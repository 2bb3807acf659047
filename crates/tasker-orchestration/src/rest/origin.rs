//! Keeps pages of other web sites away from the API. A browser on this machine or in this network can reach the
//! server, and it runs the scripts of any site. `docs/security.md` is the page for users.
//!
//! - A browser says when a page of another site makes a request (`Sec-Fetch-Site`, `Origin`). Such a request is
//!   always refused. For a browser, another port of the same host is the same site, but any program may listen there.
//!   So a request of the same site needs an `Origin` that is the server's own or is allowed by the settings.
//! - Responses tell the browser to give them to no other page, to keep no copy, and to guess no other media type.
//! - With DNS rebinding, a site lets its own name point to this server, and its pages look as if they came from
//!   here. So if the server has no keys, it responds only to its own names.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tasker_runtime::http::is_local_name;

use super::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Headers of every response that does not set them itself.
fn protection() -> [(HeaderName, &'static str); 5] {
    [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ]
}

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
    let mut response = match origins.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    for (name, value) in protection() {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
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
        let origin = text(headers, &header::ORIGIN)?;
        let site = text(headers, &SEC_FETCH_SITE)?.filter(|_| !opens_console).unwrap_or_default();
        if site.eq_ignore_ascii_case("cross-site") || (site.eq_ignore_ascii_case("same-site") && origin.is_none()) {
            return Err(ApiError::cross_site("a browser sent this request for a page of another web site or port"));
        }
        match origin {
            Some(origin) if !self.is_same(origin, host.as_ref()) => Err(ApiError::cross_site(format!(
                "a browser sent this request for a page of {origin}, not of this server"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a request for this host is meant for the server.
    fn is_own(&self, host: &str) -> bool {
        is_local_name(host) || self.is_allowed(host)
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
            // A page on another port of the same host.
            assert_eq!(site("same-site"), 403);
            for own in ["same-origin", "none"] {
                assert_eq!(site(own), 200, "{own}");
            }
            // A page that the settings allow says its origin.
            let allowed = ("origin", "https://tasker.internal");
            assert_eq!(status(keys, &[("host", "localhost"), ("sec-fetch-site", "same-site"), allowed]), 200);
        }
    }
}
