//! Signals to tasks.

use serde_json::Value;
use sqlx::Type;
use uuid::Uuid;

use crate::Engine;
use crate::statements::statements;

statements! {
    SEND_SIGNALS = "select unnest(tasker.send_signals($1, $2, $3, $4))";
}

/// A signal to a task.
#[derive(Debug, Clone)]
pub struct NewSignal {
    /// The task.
    pub task_id: Uuid,
    /// Its name.
    pub name: String,
    /// What the steps that wait for it receive.
    pub payload: Value,
    /// Who sends it. The history records it.
    pub actor: Option<String>,
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
    /// Sends a batch of signals in one durable transaction. Returns one outcome for each, in the same order. The first
    /// signal of a name is kept, also if no step waits for it yet.
    ///
    /// # Errors
    /// When the database fails. Nothing is stored then.
    pub async fn send_signals(&self, signals: &[NewSignal]) -> sqlx::Result<Vec<SignalOutcome>> {
        sqlx::query_scalar(SEND_SIGNALS)
            .bind(signals.iter().map(|signal| signal.task_id).collect::<Vec<_>>())
            .bind(signals.iter().map(|signal| signal.name.as_str()).collect::<Vec<_>>())
            .bind(signals.iter().map(|signal| &signal.payload).collect::<Vec<_>>())
            .bind(signals.iter().map(|signal| signal.actor.as_deref()).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await
    }
}
