//! The worker's API.

use std::time::Duration;

use tasker_api::{Health, WorkerStatus};

use crate::ClientError;
use crate::http::{Http, Repeat};

/// The calls of a worker's API. Each fails with a [`ClientError`].
pub trait WorkerApiClient: Sync {
    /// Returns what the worker is doing.
    fn get_worker_status(&self) -> impl Future<Output = Result<WorkerStatus, ClientError>> + Send;

    /// Returns the workers at this address: always one. The server lists the workers at all addresses.
    fn list_workers(&self) -> impl Future<Output = Result<Vec<WorkerStatus>, ClientError>> + Send {
        async { Ok(vec![self.get_worker_status().await?]) }
    }

    /// Returns the worker's health. An unhealthy worker is not an error.
    fn worker_health(&self) -> impl Future<Output = Result<Health, ClientError>> + Send;
}

/// A client for a worker's API over HTTP. Cheap to clone: clones share their connections.
#[derive(Debug, Clone)]
pub struct WorkerClient {
    http: Http,
}

impl WorkerClient {
    /// Creates a client for the worker at `url`, such as `http://127.0.0.1:8081`. It does not connect yet.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`] if `url` is not an http or https address; [`ClientError::Tls`] if https is not possible.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(url)? })
    }

    /// Sets the time limit for responses, 10 seconds by default.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { http: self.http.with_timeout(timeout) }
    }
}

impl WorkerApiClient for WorkerClient {
    async fn get_worker_status(&self) -> Result<WorkerStatus, ClientError> {
        self.http.send(Repeat::Safe, || self.http.get(&["v1", "worker", "status"])).await
    }

    async fn worker_health(&self) -> Result<Health, ClientError> {
        self.http.health().await
    }
}
