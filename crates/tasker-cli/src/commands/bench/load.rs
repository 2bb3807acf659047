//! What the stack achieves at saturation.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tasker_api::{CreateTask, SendSignal};
use tasker_client::{ClientError, OrchestrationApiClient, OrchestrationClient, WorkerApiClient, WorkerClient};
use tokio::task::JoinSet;

use super::{LIMIT, milliseconds};
use crate::failure::Failure;

/// Many clients that send requests as fast as possible.
pub(super) struct Load<'a> {
    pub(super) api: &'a OrchestrationClient,
    pub(super) worker: &'a WorkerClient,
    pub(super) clients: u32,
}

impl Load<'_> {
    /// Creates tasks and waits until all their steps have completed. Returns steps per second, and the time of each
    /// creation in milliseconds.
    pub(super) async fn create(
        &self,
        task: &CreateTask,
        tasks: usize,
        steps: usize,
    ) -> Result<(f64, Vec<f64>), Failure> {
        let steps = Steps::from_now(self.worker, tasks * steps).await?;
        let task = Arc::new(task.clone());
        let took = self
            .each(vec![(); tasks], move |api, ()| {
                let task = Arc::clone(&task);
                async move {
                    let begun = Instant::now();
                    api.create_task(&task).await?;
                    Ok(milliseconds(begun))
                }
            })
            .await?;
        Ok((steps.completed().await?, took))
    }

    /// Creates tasks that wait for a signal, and then sends it to each. Returns how many signals per second were sent
    /// and had their steps completed.
    pub(super) async fn signal(&self, task: &CreateTask, name: &'static str, tasks: usize) -> Result<f64, Failure> {
        let task = Arc::new(task.clone());
        let waiting = self
            .each(vec![(); tasks], move |api, ()| {
                let task = Arc::clone(&task);
                async move { Ok(api.create_task(&task).await?.task_uuid) }
            })
            .await?;
        let steps = Steps::from_now(self.worker, tasks).await?;
        self.each(waiting, move |api, task| async move { api.send_signal(task, name, &SendSignal::default()).await })
            .await?;
        steps.completed().await
    }

    /// Sends a request for each item.
    async fn each<I: Send + 'static, T: Send + 'static, F: Future<Output = Result<T, ClientError>> + Send>(
        &self,
        items: Vec<I>,
        request: impl Fn(OrchestrationClient, I) -> F + Clone + Send + 'static,
    ) -> Result<Vec<T>, Failure> {
        let items = Arc::new(Mutex::new(items));
        let mut clients = JoinSet::new();
        for _ in 0..self.clients {
            let (api, items, request) = (self.api.clone(), Arc::clone(&items), request.clone());
            clients.spawn(async move {
                let mut responses = Vec::new();
                loop {
                    let Some(item) = items.lock().pop() else { return Ok::<_, ClientError>(responses) };
                    responses.push(request(api.clone(), item).await?);
                }
            });
        }
        let mut responses = Vec::new();
        while let Some(client) = clients.join_next().await {
            responses.extend(client.map_err(Failure::failed)??);
        }
        Ok(responses)
    }
}

/// Steps that the worker has to complete.
struct Steps<'a> {
    worker: &'a WorkerClient,
    begun: Instant,
    count: usize,
    /// What the worker has completed at the end.
    wanted: u64,
}

impl<'a> Steps<'a> {
    async fn from_now(worker: &'a WorkerClient, count: usize) -> Result<Self, Failure> {
        let before = worker.get_worker_status().await?.completed_steps;
        let wanted = before + u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Self { worker, begun: Instant::now(), count, wanted })
    }

    /// Waits for the steps. Returns how many completed per second.
    async fn completed(self) -> Result<f64, Failure> {
        loop {
            let completed = self.worker.get_worker_status().await?.completed_steps;
            if completed >= self.wanted {
                break;
            }
            if self.begun.elapsed() > LIMIT {
                let missing = self.wanted - completed;
                return Err(Failure::failed(format!("{missing} steps have not completed within {LIMIT:?}")));
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 steps")]
        let count = self.count as f64;
        Ok(count / self.begun.elapsed().as_secs_f64())
    }
}
