//! Sends spans to the receiver, on a thread of the SDK. So no async runtime of the process has to live as long.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use super::environment::{asks_for_grpc, variable};

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
    /// A variable of OpenTelemetry asks for gRPC.
    #[error(
        "cannot send traces: {0} is \"grpc\", but they are sent as \"http/protobuf\"; \
         set it to that, and the address to the receiver's port for http, usually 4318"
    )]
    Grpc(&'static str),
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

/// An exporter to the receiver at `endpoint`, or to the one that the environment names, and the receiver's host for the
/// log. None if there is neither.
pub(super) fn new(endpoint: &str) -> Result<Option<(SpanExporter, String)>, StartError> {
    let address = match variable(TRACES_ENDPOINT) {
        Some(address) => address,
        None if endpoint.is_empty() => return Ok(None),
        None => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
    };
    if let Some(name) = asks_for_grpc(variable) {
        return Err(StartError::Grpc(name));
    }
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
    let receiver = host(&address).to_owned();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address)
        .build()?;
    Ok(Some((exporter, receiver)))
}

/// The host and port of an address. The rest may have secrets.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_the_host_without_secrets() {
        for (address, expected) in [
            ("http://127.0.0.1:4318/v1/traces", "127.0.0.1:4318"),
            ("https://user:pass@otlp.example.com/v1/traces?key=secret", "otlp.example.com"),
            ("http://[::1]:4318", "[::1]:4318"),
        ] {
            assert_eq!(host(address), expected);
        }
    }
}
