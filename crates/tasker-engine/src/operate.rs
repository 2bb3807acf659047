//! What operators do to tasks and steps.

use serde_json::Value;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::Engine;

/// An operator's action on a task.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Ends the task.
    Cancel,
    /// Gives up a task that is blocked by failures.
    Fail,
    /// Lets failed steps run again: all of the task, or the named one.
    Retry {
        /// The step's name.
        step: Option<String>,
    },
    /// Gives a step a result by hand.
    Resolve {
        /// The step's name.
        step: String,
        /// The step's result.
        result: Value,
    },
}

/// What an [`Operation`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationOutcome {
    /// It is done.
    Done,
    /// There is no such task.
    NotFound,
    /// The task has no such step.
    NoStep,
    /// The task or step is in this state, in which it cannot be done.
    WrongState(String),
}

impl Engine {
    /// Does what an operator asks; `actor` and `reason` go into the history.
    ///
    /// # Errors
    /// When the database fails; nothing is changed then.
    pub async fn operate(
        &self,
        task_id: Uuid,
        operation: &Operation,
        actor: Option<&str>,
        reason: Option<&str>,
    ) -> sqlx::Result<OperationOutcome> {
        let call = match operation {
            Operation::Cancel => "tasker.end_task($1, 'cancelled', $2, $3)",
            Operation::Fail => "tasker.end_task($1, 'failed', $2, $3)",
            Operation::Retry { .. } => "tasker.retry_steps($1, $4, $2, $3)",
            Operation::Resolve { .. } => "tasker.resolve_step($1, $4, $5, $2, $3)",
        };
        let query = sqlx::query_as(AssertSqlSafe(format!("select outcome, state::text from {call}")))
            .bind(task_id)
            .bind(actor)
            .bind(reason);
        let query = match operation {
            Operation::Cancel | Operation::Fail => query,
            Operation::Retry { step } => query.bind(step),
            Operation::Resolve { step, result } => query.bind(step).bind(result),
        };
        let (outcome, state): (String, Option<String>) = query.fetch_one(&self.pool).await?;
        Ok(match outcome.as_str() {
            "done" => OperationOutcome::Done,
            "not_found" => OperationOutcome::NotFound,
            "no_step" => OperationOutcome::NoStep,
            _ => OperationOutcome::WrongState(state.unwrap_or_default()),
        })
    }
}
