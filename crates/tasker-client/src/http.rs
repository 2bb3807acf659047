//! HTTP requests for both APIs: JSON, problem documents, time limits and retries.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use tasker_api::{Health, PROBLEM_CONTENT_TYPE};

use crate::{ClientError, tls};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a response may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses before a request is repeated.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];
/// How many characters of an unexpected response an error shows.
const SHOWN: usize = 200;

/// Whether a request may be repeated if it is unknown whether it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Safe,
    Never,
}

/// An HTTP API at an address.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: Url,
    timeout: Duration,
    /// The API key or token. Marked as sensitive, so that it is never shown.
    authorization: Option<HeaderValue>,
    /// The caller's place in a trace.
    traceparent: Option<HeaderValue>,
}

impl Http {
    pub(crate) fn new(url: &str) -> Result<Self, ClientError> {
        let bad_url = |reason: &str| ClientError::BadUrl { url: url.to_owned(), reason: reason.to_owned() };
        let base = Url::parse(url).map_err(|error| bad_url(&error.to_string()))?;
        let https = match base.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(bad_url("it must start with http:// or https://")),
        };
        let builder = Client::builder()
            .user_agent(concat!("tasker-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .tls_backend_preconfigured(tls::config(https)?);
        // Never reach this machine through a proxy, even if the environment names one for all addresses.
        let builder = if is_loopback(&base) { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| bad_url(&error.to_string()))?;
        Ok(Self { client, base, timeout: TIMEOUT, authorization: None, traceparent: None })
    }

    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub(crate) fn with_api_key(self, key: &str) -> Result<Self, ClientError> {
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::BadApiKey);
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ClientError::BadApiKey)?;
        authorization.set_sensitive(true);
        Ok(Self { authorization: Some(authorization), ..self })
    }

    pub(crate) fn with_traceparent(self, traceparent: &str) -> Result<Self, ClientError> {
        if !is_traceparent(traceparent) {
            return Err(ClientError::BadTraceparent(traceparent.to_owned()));
        }
        let traceparent =
            HeaderValue::try_from(traceparent).map_err(|_| ClientError::BadTraceparent(traceparent.to_owned()))?;
        Ok(Self { traceparent: Some(traceparent), ..self })
    }

    /// A request for a path. Its segments are encoded as needed.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        // Succeeds for every http address.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.client.request(method, url).timeout(self.timeout);
        let request = match &self.traceparent {
            Some(traceparent) => request.header("traceparent", traceparent),
            None => request,
        };
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    pub(crate) fn get(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    pub(crate) fn patch(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// Asks the server to wait before it responds.
    pub(crate) fn wait(&self, request: RequestBuilder, wait: Duration) -> RequestBuilder {
        request.query(&[("wait", duration_text(wait))]).timeout(self.timeout.saturating_add(wait))
    }

    /// Sends the request that `make` creates, and reads the response.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        repeat: Repeat,
        make: impl Fn() -> RequestBuilder,
    ) -> Result<T, ClientError> {
        let response = self.exchange(repeat, make).await?;
        if response.status.is_success() { response.json() } else { Err(response.into_error()) }
    }

    /// Sends the request that `make` creates. The response has no content.
    pub(crate) async fn send_for_nothing(
        &self,
        repeat: Repeat,
        make: impl Fn() -> RequestBuilder,
    ) -> Result<(), ClientError> {
        let response = self.exchange(repeat, make).await?;
        if response.status.is_success() { Ok(()) } else { Err(response.into_error()) }
    }

    /// `GET /health`, whose response is 503 with the same document if something is unhealthy.
    pub(crate) async fn health(&self) -> Result<Health, ClientError> {
        let response = self.exchange(Repeat::Never, || self.get(&["health"])).await?;
        match response.status {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => response.json(),
            _ => Err(response.into_error()),
        }
    }

    /// Sends a request, and repeats it if that is safe and may help.
    async fn exchange(&self, repeat: Repeat, make: impl Fn() -> RequestBuilder) -> Result<Response, ClientError> {
        let mut pauses = PAUSES.iter().filter(|_| repeat == Repeat::Safe);
        loop {
            let result = self.exchange_once(make()).await;
            let may_help = match &result {
                Ok(response) => matches!(response.status.as_u16(), 502..=504),
                Err(error) => matches!(error, ClientError::Unreachable { .. }),
            };
            match pauses.next() {
                Some(pause) if may_help => tokio::time::sleep(*pause).await,
                _ => return result,
            }
        }
    }

    async fn exchange_once(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|error| failure(self.base.as_str(), self.timeout, error))?;
        let url = request.url().to_string();
        let limit = request.timeout().copied().unwrap_or(self.timeout);
        let response = async {
            let response = client.execute(request).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.bytes().await?;
            let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let problem = content_type.is_some_and(|value| value.starts_with(PROBLEM_CONTENT_TYPE));
            Ok(Response { url: url.clone(), status, problem, body: body.into() })
        };
        response.await.map_err(|error| failure(&url, limit, error))
    }
}

fn failure(url: &str, limit: Duration, error: reqwest::Error) -> ClientError {
    let url = url.to_owned();
    if error.is_timeout() && !error.is_connect() {
        ClientError::Timeout { url, limit }
    } else {
        ClientError::Unreachable { url, source: Box::new(error.without_url()) }
    }
}

/// A duration as the API reads it: `30s`, or `500ms` if it is not a number of whole seconds.
fn duration_text(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A complete response.
struct Response {
    url: String,
    status: StatusCode,
    /// Whether its content type is that of a problem document.
    problem: bool,
    body: Vec<u8>,
}

impl Response {
    fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| self.unexpected(format!("{error}: {}", self.shown())))
    }

    fn into_error(self) -> ClientError {
        match serde_json::from_slice(&self.body) {
            Ok(problem) if self.problem => ClientError::Problem(Box::new(problem)),
            _ => self.unexpected(self.shown()),
        }
    }

    fn unexpected(&self, reason: String) -> ClientError {
        ClientError::UnexpectedResponse { url: self.url.clone(), status: self.status.as_u16(), reason }
    }

    /// The start of the body on one line.
    fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let mut shown: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if shown.is_empty() {
            return "an empty body".to_owned();
        }
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    }
}

/// Whether this is a W3C `traceparent`: version, trace, span and flags as hexadecimal digits.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.split('-').map(str::len).eq([2, 32, 16, 2]) && text.split('-').all(hex)
}
