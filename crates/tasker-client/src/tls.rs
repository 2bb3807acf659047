//! TLS for https addresses. Leaves the process-wide default of rustls to the application.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

/// If TLS is `needed`, a configuration that trusts what the machine trusts. Otherwise one that trusts nothing,
/// because reading the machine's certificates takes time and fails where there are none.
pub(crate) fn config(needed: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder =
        if needed { builder.with_platform_verifier()? } else { builder.with_root_certificates(RootCertStore::empty()) };
    Ok(builder.with_no_client_auth())
}
