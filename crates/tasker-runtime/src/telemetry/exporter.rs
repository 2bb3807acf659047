//! Sends spans to the receiver, on a thread of the SDK. So no async runtime of the process has to live as long.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the receiver may take to respond.
const TIMEOUT: Duration = Duration::from_secs(10);
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
    /// The thread that makes the HTTP client failed.
    #[error("cannot send traces: no thread can be started")]
    Thread,
}

/// An exporter to the receiver at `endpoint`, or to the one that the environment names. None if there is neither.
pub(super) fn new(endpoint: &str) -> Result<Option<SpanExporter>, StartError> {
    let of_environment = std::env::var(TRACES_ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty());
    let address = match of_environment {
        Some(address) => address,
        None if endpoint.is_empty() => return Ok(None),
        None => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
    };
    let tls = tls(address.starts_with("https:"))?;
    let client = || {
        reqwest::blocking::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .tls_backend_preconfigured(tls)
            .build()
    };
    // A blocking client cannot be made on a thread of an async runtime.
    let client = std::thread::scope(|scope| scope.spawn(client).join()).map_err(|_| StartError::Thread)??;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
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
