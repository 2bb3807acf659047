//! Servers that run in this process, and their keys.

use std::net::SocketAddr;

use anyhow::Result;
use local_postgres::LocalPostgres;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tasker_orchestration::Server;
use tasker_runtime::settings::{Access, ApiKey, Scope, Settings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::http::{Answer, send};

/// An API key whose text is `NAME-key`.
pub(crate) fn key(name: &str, scopes: &[Scope]) -> ApiKey {
    let digest = Sha256::digest(format!("{name}-key"));
    ApiKey {
        name: name.to_owned(),
        scopes: scopes.to_owned(),
        namespaces: None,
        key_file: None,
        key_sha256: Some(digest.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// A server that runs in this process.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(postgres: &LocalPostgres, access: Access) -> Result<Self> {
        let mut settings = Settings::default();
        settings.database.url = postgres.url();
        settings.orchestration.port = 0;
        settings.orchestration.access = access;
        let server = Server::bind(&settings).await?;
        let address = server.address();
        let shutdown = CancellationToken::new();
        Ok(Self { address, task: tokio::spawn(server.run(shutdown.clone())), shutdown })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(self.task.await?)
    }

    /// Sends a request with this key or token, and with JSON unless the body is empty.
    pub(crate) async fn call(&self, credential: &str, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let credential = format!("Bearer {credential}");
        let headers = [("Authorization", &credential[..]), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = if credential == "Bearer " { &headers[1..] } else { &headers[..] };
        send(self.address, method, path, headers, &body).await
    }
}
