//! Creates tasks in batches: while one batch is written, the requests that arrive gather for the next. So many requests share one
//! durable commit, and a single one waits for nobody.

use tasker_engine::{CreateOutcome, Engine, NewTask};
use tokio::sync::{mpsc, oneshot};

/// Tasks of one transaction, at most.
const MAX_BATCH: usize = 200;
/// Requests that wait for their batch, at most; more wait to be taken.
const MAX_WAITING: usize = 1_000;

type Reply = oneshot::Sender<Result<CreateOutcome, CreateError>>;

/// Why a task was not created.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CreateError {
    /// The database cannot hold this task, or failed.
    #[error("{message}")]
    Database {
        /// What it said.
        message: String,
        /// Whether the data was at fault, not the database.
        bad_data: bool,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Takes tasks to be created. The service behind it ends with its last clone.
#[derive(Debug, Clone)]
pub(crate) struct Creator {
    requests: mpsc::Sender<(NewTask, Reply)>,
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
        self.requests.send((task, reply)).await.map_err(|_| CreateError::ShuttingDown)?;
        outcome.await.map_err(|_| CreateError::ShuttingDown)?
    }
}

async fn run(engine: Engine, mut waiting: mpsc::Receiver<(NewTask, Reply)>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let (tasks, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        for (reply, outcome) in replies.into_iter().zip(create(&engine, &tasks).await) {
            // Who asked may have gone; the task is created all the same.
            let _ = reply.send(outcome);
        }
    }
}

/// One outcome for each task. Where the batch fails for its data, each task is tried alone: one that PostgreSQL cannot hold must not
/// take others with it.
async fn create(engine: &Engine, tasks: &[NewTask]) -> Vec<Result<CreateOutcome, CreateError>> {
    let error = match engine.create_tasks(tasks).await {
        Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
        Err(error) => CreateError::from(error),
    };
    if tasks.len() == 1 || !matches!(error, CreateError::Database { bad_data: true, .. }) {
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
        // Class 22 of SQLSTATE: data exceptions; class 54: limits of PostgreSQL.
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
        Self::Database { message: error.to_string(), bad_data: code.starts_with("22") || code.starts_with("54") }
    }
}
