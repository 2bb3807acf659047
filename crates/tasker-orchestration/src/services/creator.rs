//! Creates tasks in batches. While PostgreSQL writes one batch, the requests that arrive form the next one. So many
//! requests share one durable commit, and a single request waits for no other.

use tasker_api::limits::json_bytes;
use tasker_engine::{CreateOutcome, Engine, Failure, NewTask};
use tokio::sync::{mpsc, oneshot};

/// The most tasks of one transaction.
const MAX_BATCH: usize = 200;
/// The most bytes of context in one transaction. A single task may be larger.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The most requests that wait for their batch. Further requests wait for a place.
const MAX_WAITING: usize = 1_000;

type Reply = oneshot::Sender<Result<CreateOutcome, CreateError>>;

/// Why a task was not created.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CreateError {
    /// The database failed, or cannot store this task.
    #[error("{message}")]
    Database {
        /// The message of the database.
        message: String,
        /// What the error means.
        failure: Failure,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Sends tasks to the service that creates them. The service ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Creator {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    task: NewTask,
    bytes: usize,
    reply: Reply,
}

impl Creator {
    /// Starts the service.
    pub(crate) fn start(engine: Engine) -> Self {
        let (requests, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(run(engine, waiting));
        Self { requests }
    }

    /// Creates a task. Returns when it is durable.
    pub(crate) async fn create(&self, task: NewTask) -> Result<CreateOutcome, CreateError> {
        let (reply, outcome) = oneshot::channel();
        let request = Request { bytes: json_bytes(&task.context), task, reply };
        self.requests.send(request).await.map_err(|_| CreateError::ShuttingDown)?;
        outcome.await.map_err(|_| CreateError::ShuttingDown)?
    }
}

async fn run(engine: Engine, mut waiting: mpsc::Receiver<Request>) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(request) => request,
            None => match waiting.recv().await {
                Some(request) => request,
                None => break,
            },
        };
        let (batch, left) = gather(first, &mut waiting);
        next = left;
        let (tasks, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|request| (request.task, request.reply)).unzip();
        for (reply, outcome) in replies.into_iter().zip(create(&engine, &tasks).await) {
            // The client may have disconnected. Its task is created all the same.
            let _ = reply.send(outcome);
        }
    }
}

/// Adds requests that are waiting to the first one, within both limits. Also returns the request that no longer
/// fitted.
fn gather(first: Request, waiting: &mut mpsc::Receiver<Request>) -> (Vec<Request>, Option<Request>) {
    let mut bytes = first.bytes;
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH {
        let Ok(request) = waiting.try_recv() else { break };
        bytes += request.bytes;
        if bytes > MAX_BATCH_BYTES {
            return (batch, Some(request));
        }
        batch.push(request);
    }
    (batch, None)
}

/// Returns one outcome for each task. If PostgreSQL cannot store the batch because of its data, each task is tried
/// alone, so that one bad task does not affect the others.
async fn create(engine: &Engine, tasks: &[NewTask]) -> Vec<Result<CreateOutcome, CreateError>> {
    let error = match engine.create_tasks(tasks).await {
        Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
        Err(error) => CreateError::from(error),
    };
    if tasks.len() == 1 || !matches!(error, CreateError::Database { failure: Failure::BadData, .. }) {
        return vec![Err(error); tasks.len()];
    }
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        let outcome = engine.create_tasks(std::slice::from_ref(task)).await;
        outcomes.push(match outcome {
            Ok(mut one) => one.pop().ok_or(CreateError::ShuttingDown),
            Err(error) => Err(error.into()),
        });
    }
    outcomes
}

impl From<sqlx::Error> for CreateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database { message: error.to_string(), failure: Failure::of(&error) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn request(bytes: usize) -> Request {
        let task = NewTask {
            task_id: Uuid::now_v7(),
            template_id: 1,
            latest: true,
            context: json!({}),
            priority: 0,
            tags: None,
            idempotency: None,
            values: Vec::new(),
            traceparent: None,
        };
        Request { task, bytes, reply: oneshot::channel().0 }
    }

    /// The sizes of the batches that these requests form.
    fn batches(sizes: &[usize]) -> Vec<usize> {
        let (sender, mut waiting) = mpsc::channel(MAX_WAITING);
        for size in sizes {
            sender.try_send(request(*size)).unwrap();
        }
        let mut next = None;
        let mut batches = Vec::new();
        while let Some(first) = next.take().or_else(|| waiting.try_recv().ok()) {
            let (batch, left) = gather(first, &mut waiting);
            batches.push(batch.len());
            next = left;
        }
        batches
    }

    #[test]
    fn batches_are_limited_in_number_and_bytes() {
        assert_eq!(batches(&[1; 450]), [200, 200, 50]);
        assert_eq!(batches(&[1024 * 1024; 10]), [4, 4, 2]);
        assert_eq!(batches(&[2 * MAX_BATCH_BYTES, 1, 1]), [1, 2]);
    }
}
