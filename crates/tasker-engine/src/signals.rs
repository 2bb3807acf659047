//! Signals to tasks.

use serde_json::Value;
use sqlx::Type;
use uuid::Uuid;

use crate::Engine;
use crate::statements::statements;

statements! {
    SEND_SIGNAL = "select tasker.send_signal($1, $2, $3, $4)";
}

/// The outcome of sending a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SignalOutcome {
    /// The signal is stored, and steps that waited for it continue.
    Done,
    /// The task has this signal already, with the same payload.
    Repeated,
    /// The task has a signal of this name, with another payload.
    Conflict,
    /// There is no such task.
    NotFound,
    /// The task has ended.
    WrongState,
}

impl Engine {
    /// Sends a signal to a task. The first signal of a name is kept, also if no step waits for it yet. `actor` is stored
    /// with it.
    ///
    /// # Errors
    /// When the database fails. Nothing is stored then.
    pub async fn send_signal(
        &self,
        task_id: Uuid,
        name: &str,
        payload: &Value,
        actor: Option<&str>,
    ) -> sqlx::Result<SignalOutcome> {
        sqlx::query_scalar(SEND_SIGNAL).bind(task_id).bind(name).bind(payload).bind(actor).fetch_one(&self.pool).await
    }
}
