//! Writes what requests create in batches: tasks and signals. While PostgreSQL writes one batch, the requests that arrive
//! form the next one. So many requests share one durable commit, and a single request waits for no other.

use tasker_api::limits::json_bytes;
use tasker_engine::{CreateOutcome, Engine, Failure, NewSignal, NewTask, SignalOutcome};
use tokio::sync::{mpsc, oneshot};

/// The most items of one transaction.
const MAX_BATCH: usize = 200;
/// The most bytes of JSON in one transaction. A single item may be larger.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The most requests that wait for their batch. Further requests wait for a place.
const MAX_WAITING: usize = 1_000;

/// Something that is written in batches.
pub(crate) trait Item: Send + Sync + 'static {
    /// What happened to it.
    type Outcome: Send;

    /// The size of its JSON.
    fn bytes(&self) -> usize;

    /// Writes a batch in one transaction. Returns one outcome for each item, in the same order.
    fn write(engine: &Engine, batch: &[Self]) -> impl Future<Output = sqlx::Result<Vec<Self::Outcome>>> + Send
    where
        Self: Sized;
}

impl Item for NewTask {
    type Outcome = CreateOutcome;

    fn bytes(&self) -> usize {
        json_bytes(&self.context)
    }

    async fn write(engine: &Engine, batch: &[Self]) -> sqlx::Result<Vec<CreateOutcome>> {
        engine.create_tasks(batch).await
    }
}

impl Item for NewSignal {
    type Outcome = SignalOutcome;

    fn bytes(&self) -> usize {
        json_bytes(&self.payload)
    }

    async fn write(engine: &Engine, batch: &[Self]) -> sqlx::Result<Vec<SignalOutcome>> {
        engine.send_signals(batch).await
    }
}

/// Why an item was not written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum WriteError {
    /// The database failed, or cannot store this item.
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

/// Sends items to the service that writes them. The service ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Batches<T: Item> {
    requests: mpsc::Sender<Request<T>>,
}

#[derive(Debug)]
struct Request<T: Item> {
    item: T,
    bytes: usize,
    reply: oneshot::Sender<Result<T::Outcome, WriteError>>,
}

impl<T: Item> Batches<T> {
    /// Starts the service.
    pub(crate) fn start(engine: Engine) -> Self {
        let (requests, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(run(engine, waiting));
        Self { requests }
    }

    /// Writes an item. Returns when it is durable.
    pub(crate) async fn write(&self, item: T) -> Result<T::Outcome, WriteError> {
        let (reply, outcome) = oneshot::channel();
        let request = Request { bytes: item.bytes(), item, reply };
        self.requests.send(request).await.map_err(|_| WriteError::ShuttingDown)?;
        outcome.await.map_err(|_| WriteError::ShuttingDown)?
    }
}

async fn run<T: Item>(engine: Engine, mut waiting: mpsc::Receiver<Request<T>>) {
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
        let (items, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|request| (request.item, request.reply)).unzip();
        for (reply, outcome) in replies.into_iter().zip(write(&engine, &items).await) {
            // The client may have disconnected. Its item is written all the same.
            let _ = reply.send(outcome);
        }
    }
}

/// Adds requests that are waiting to the first one, within both limits. Also returns the request that no longer
/// fitted.
fn gather<T: Item>(
    first: Request<T>,
    waiting: &mut mpsc::Receiver<Request<T>>,
) -> (Vec<Request<T>>, Option<Request<T>>) {
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

/// Returns one outcome for each item. If PostgreSQL cannot store the batch because of its data, each item is tried alone,
/// so that one bad item does not affect the others.
async fn write<T: Item>(engine: &Engine, items: &[T]) -> Vec<Result<T::Outcome, WriteError>> {
    let error = match T::write(engine, items).await {
        Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
        Err(error) => WriteError::from(error),
    };
    if items.len() == 1 || !matches!(error, WriteError::Database { failure: Failure::BadData, .. }) {
        return items.iter().map(|_| Err(error.clone())).collect();
    }
    let mut outcomes = Vec::with_capacity(items.len());
    for item in items {
        let outcome = T::write(engine, std::slice::from_ref(item)).await;
        outcomes.push(match outcome {
            Ok(mut one) => one.pop().ok_or(WriteError::ShuttingDown),
            Err(error) => Err(error.into()),
        });
    }
    outcomes
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database { message: error.to_string(), failure: Failure::of(&error) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(bytes: usize) -> Request<NewTask> {
        let task = NewTask::new(1, json!({}));
        Request { item: task, bytes, reply: oneshot::channel().0 }
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
