//! Tasks that are part of a trace.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::Engine;
use crate::statements::statements;

statements! {
    /// The last change of a task's own state is when it came to rest.
    TRACED_AT_REST = "select t.task_id, t.namespace, tt.name as template, tt.version, t.state::text as state, t.traceparent,
            t.created_at, r.at as rested_at, r.reason, t.total_steps, t.completed_steps, t.failed_steps
        from unnest($1::uuid[]) i(task_id)
        join tasker.tasks t using (task_id)
        join tasker.task_templates tt using (template_id)
        cross join lateral (
            select h.at, h.reason from tasker.transitions h
            where h.task_id = t.task_id and h.step_no is null order by h.transition_id desc limit 1) r
        where t.traceparent like '%-01' and t.state not in ('pending', 'in_progress')";

    /// Ends with the session.
    TAKE_TURN = "select pg_try_advisory_lock(hashtext('tasker.traces'))";
    /// PostgreSQL would learn only after hours that the other machine has lost its power.
    END_WHEN_IDLE = "select set_config('idle_session_timeout', '10s', false)";
}

/// A task that is at rest and part of a sampled trace.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct TracedTask {
    /// Its id.
    pub task_id: Uuid,
    /// Its namespace.
    pub namespace: String,
    /// The name of its template.
    pub template: String,
    /// The version of its template.
    pub version: String,
    /// Its state: final, or blocked by failures.
    pub state: String,
    /// The place in a trace where it was created.
    pub traceparent: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it came to rest.
    pub rested_at: DateTime<Utc>,
    /// Why it came to rest, if an operator, a time limit or a schedule ended it.
    pub reason: Option<String>,
    /// How many steps it has.
    pub total_steps: i16,
    /// How many of them have a result.
    pub completed_steps: i16,
    /// How many of them have failed.
    pub failed_steps: i16,
}

/// The right to record tasks at rest in their traces. One process has it at a time, as long as this value lives and it
/// reads at least every ten seconds: a process that hangs does not keep it.
#[derive(Debug)]
pub struct TraceRecorder(PgConnection);

impl Engine {
    /// Takes the right, if no other process has it. It needs a connection of its own, because the lock is the session's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn trace_recorder(&self) -> sqlx::Result<Option<TraceRecorder>> {
        let mut connection = self.pool.acquire().await?;
        let taken: bool = sqlx::query_scalar(TAKE_TURN).fetch_one(&mut *connection).await?;
        if !taken {
            return Ok(None);
        }
        let mut connection = connection.detach();
        sqlx::query(END_WHEN_IDLE).execute(&mut connection).await?;
        Ok(Some(TraceRecorder(connection)))
    }
}

impl TraceRecorder {
    /// Returns those of the tasks that are at rest and part of a sampled trace.
    ///
    /// # Errors
    /// When the database fails. The right may then be lost.
    pub async fn at_rest(&mut self, task_ids: &[Uuid]) -> sqlx::Result<Vec<TracedTask>> {
        sqlx::query_as(TRACED_AT_REST).bind(task_ids).fetch_all(&mut self.0).await
    }
}
