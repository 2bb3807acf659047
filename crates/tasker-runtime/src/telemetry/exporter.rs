//! Sends spans to the receiver. The SDK's thread collects them, and the process's async runtime sends them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::Handle;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Names a receiver of traces only, with its path. Stronger than `OTEL_EXPORTER_OTLP_ENDPOINT`.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The receiver's address or another variable of OpenTelemetry is not valid.
    #[error("cannot send traces: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// Https is not possible, usually because the machine's certificates cannot be read.
    #[error("cannot send traces over https: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be made.
    #[error("cannot send traces: {0}")]
    Client(#[from] reqwest::Error),
}

/// An exporter to the receiver at `endpoint`, or to the one that the environment names. None if there is neither.
pub(super) fn new(endpoint: &str) -> Result<Option<SpanExporter>, StartError> {
    let of_environment = std::env::var(TRACES_ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty());
    let address = match of_environment {
        Some(address) => address,
        None if endpoint.is_empty() => return Ok(None),
        None => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
    };
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .tls_backend_preconfigured(tls(address.starts_with("https:"))?)
        .build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(OnRuntime { client, runtime: Handle::current() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address)
        .build()?;
    Ok(Some(exporter))
}

/// Trusts what the machine trusts, if TLS is `needed`. Otherwise nothing, because reading the machine's certificates
/// takes time and fails where there are none.
fn tls(needed: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder =
        if needed { builder.with_platform_verifier()? } else { builder.with_root_certificates(RootCertStore::empty()) };
    Ok(builder.with_no_client_auth())
}

/// Sends requests on an async runtime, whatever thread asks.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
