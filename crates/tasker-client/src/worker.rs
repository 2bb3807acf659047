//! The worker's API.

use std::time::Duration;

use tasker_api::{Health, WorkerStatus};

use crate::ClientError;
use crate::http::{Http, Repeat};

/// What a worker can be asked. Every call fails with a [`ClientError`].
pub trait WorkerApiClient: Sync {
    /// What the worker is doing.
    fn get_worker_status(&self) -> impl Future<Output = Result<WorkerStatus, ClientError>> + Send;

    /// The workers that answer at this address: a worker process is one. The server lists those of all addresses.
    fn list_workers(&self) -> impl Future<Output = Result<Vec<WorkerStatus>, ClientError>> + Send {
        async { Ok(vec![self.get_worker_status().await?]) }
    }

    /// The worker's health. An unhealthy worker is an answer, not an error.
    fn worker_health(&self) -> impl Future<Output = Result<Health, ClientError>> + Send;
}

/// A worker's API at an address, by HTTP. Cheap to clone: clones share their connections.
#[derive(Debug, Clone)]
pub struct WorkerClient {
    http: Http,
}

impl WorkerClient {
    /// A client of the worker at `url`, such as `http://127.0.0.1:8081`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is not one of http or https.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(url)? })
    }

    /// The same with another time limit for answers; 10 seconds by default.
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
