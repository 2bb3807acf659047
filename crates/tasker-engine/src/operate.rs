//! Actions of operators on tasks and steps.

use serde_json::Value;
use sqlx::Type;
use uuid::Uuid;

use crate::Engine;
use crate::arguments::count;
use crate::statements::statements;

statements! {
    CANCEL = "select outcome, state::text from tasker.end_task($1, 'cancelled', $2, $3)";
    FAIL = "select outcome, state::text from tasker.end_task($1, 'failed', $2, $3)";
    RETRY = "select outcome, state::text from tasker.retry_steps($1, $4, $2, $3)";
    FORK_TASK = "select outcome, state::text from tasker.fork_task($1, $2, $3, $4, $5, $6)";
    END_ORPHANS = "select tasker.end_orphans($1)";
    END_LATE_TASKS = "select * from tasker.end_late_tasks($1)";
    END_STALE_TASKS = "select * from tasker.end_stale_tasks($1)";
    RESOLVE = "select outcome, state::text from tasker.resolve_step($1, $4, $5, $2, $3)";
}

/// An operator's action on a task.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Cancels the task.
    Cancel,
    /// Fails a task that is blocked by failures.
    Fail,
    /// Retries all failed steps of the task, or only the named one.
    Retry {
        /// The step's name. None means all failed steps.
        step: Option<String>,
    },
    /// Records a result for a step by hand.
    Resolve {
        /// The step's name.
        step: String,
        /// The step's result.
        result: Value,
    },
}

/// The outcome of an [`Operation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationOutcome {
    /// The operation succeeded.
    Done,
    /// The task does not exist.
    NotFound,
    /// The task has no such step.
    NoStep,
    /// The task or step is in this state, which does not allow the operation.
    WrongState(String),
}

/// The name of an [`OperationOutcome`] in the database.
#[derive(Debug, Clone, Copy, Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum OutcomeName {
    Done,
    NotFound,
    NoStep,
    WrongState,
}

/// An outcome, and the state that it is about.
type OutcomeRow = (OutcomeName, Option<String>);

impl From<OutcomeRow> for OperationOutcome {
    fn from((outcome, state): OutcomeRow) -> Self {
        match outcome {
            OutcomeName::Done => Self::Done,
            OutcomeName::NotFound => Self::NotFound,
            OutcomeName::NoStep => Self::NoStep,
            OutcomeName::WrongState => Self::WrongState(state.unwrap_or_default()),
        }
    }
}

impl Engine {
    /// Performs an operator's action. `actor` and `reason` are stored in the history.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed then.
    pub async fn operate(
        &self,
        task_id: Uuid,
        operation: &Operation,
        actor: Option<&str>,
        reason: Option<&str>,
    ) -> sqlx::Result<OperationOutcome> {
        let statement = match operation {
            Operation::Cancel => CANCEL,
            Operation::Fail => FAIL,
            Operation::Retry { .. } => RETRY,
            Operation::Resolve { .. } => RESOLVE,
        };
        let query = sqlx::query_as(statement).bind(task_id).bind(actor).bind(reason);
        let query = match operation {
            Operation::Cancel | Operation::Fail => query,
            Operation::Retry { step } => query.bind(step),
            Operation::Resolve { step, result } => query.bind(step).bind(result),
        };
        let row: OutcomeRow = query.fetch_one(&self.pool).await?;
        Ok(row.into())
    }

    /// Creates the task `fork_id` (a UUIDv7), which runs a task again from a step. It has the input of the task, and the
    /// results of the steps that do not depend on that step. `actor` and `reason` are stored in its history;
    /// `traceparent` is that of [`NewTask`](crate::NewTask).
    ///
    /// # Errors
    /// When the database fails. Nothing is created then.
    pub async fn fork_task(
        &self,
        task_id: Uuid,
        step: &str,
        fork_id: Uuid,
        actor: Option<&str>,
        reason: Option<&str>,
        traceparent: Option<&str>,
    ) -> sqlx::Result<OperationOutcome> {
        let query = sqlx::query_as(FORK_TASK).bind(task_id).bind(step).bind(fork_id).bind(actor).bind(reason);
        let row: OutcomeRow = query.bind(traceparent).fetch_one(&self.pool).await?;
        Ok(row.into())
    }

    /// Cancels up to `limit` child tasks whose parents have ended. Returns their ids.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed then.
    pub async fn end_orphans(&self, limit: u32) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar(END_ORPHANS).bind(count(limit)).fetch_all(&self.pool).await
    }

    /// Cancels or investigates up to `limit` tasks that took longer than their template allows, as it says. Returns their
    /// ids.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed then.
    pub async fn end_late_tasks(&self, limit: u32) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar(END_LATE_TASKS).bind(count(limit)).fetch_all(&self.pool).await
    }

    /// Does the same for up to `limit` tasks that do not go on. Returns their ids.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed then.
    pub async fn end_stale_tasks(&self, limit: u32) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar(END_STALE_TASKS).bind(count(limit)).fetch_all(&self.pool).await
    }
}
