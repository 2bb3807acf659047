//! The rows of tasks, steps and messages, as read from the database.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use tasker_api::{StepState, TaskState};
use uuid::Uuid;

pub(crate) type Time = DateTime<Utc>;
/// A task and the number of a step.
pub(crate) type StepId = (Uuid, i16);

/// A row of `tasker.tasks`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskFacts {
    pub(crate) state: TaskState,
    pub(crate) total_steps: i16,
    pub(crate) completed_steps: i16,
    pub(crate) failed_steps: i16,
    pub(crate) active_steps: i16,
    pub(crate) started_at: Option<Time>,
    pub(crate) completed_at: Option<Time>,
}

/// A row of `tasker.steps`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepFacts {
    pub(crate) state: StepState,
    pub(crate) pending_dependencies: i16,
    pub(crate) attempts: i16,
    pub(crate) due_at: Option<Time>,
    pub(crate) started_at: Option<Time>,
    pub(crate) completed_at: Option<Time>,
    pub(crate) token: Option<Uuid>,
    pub(crate) result: Option<Value>,
    pub(crate) has_error: bool,
}

/// A message of a queue.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) visible_at: Time,
    pub(crate) read_count: i32,
    pub(crate) step: StepId,
}

/// The rows of some tasks, and all messages of the queues.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) tasks: BTreeMap<Uuid, TaskFacts>,
    pub(crate) steps: BTreeMap<StepId, StepFacts>,
    /// By the namespace's index in `NAMESPACES` and the message's id.
    pub(crate) messages: BTreeMap<(usize, i64), Message>,
}

impl TaskFacts {
    /// Whether the state is final: nothing changes the task any more.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.state, TaskState::Completed | TaskState::Failed | TaskState::Cancelled)
    }
}

impl StepFacts {
    pub(crate) fn has_result(&self) -> bool {
        matches!(self.state, StepState::Completed | StepState::ResolvedManually)
    }

    /// Whether the step is enqueued, runs, or waits for a retry.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.state, StepState::Enqueued | StepState::InProgress | StepState::WaitingForRetry)
    }
}

impl Facts {
    /// Reads these tasks, their steps, and the queues.
    pub(crate) async fn read(pool: &PgPool, tasks: &[Uuid]) -> Result<Self> {
        Ok(Self {
            tasks: tasks_of(pool, tasks).await?,
            steps: steps_of(pool, tasks).await?,
            messages: messages(pool).await?,
        })
    }

    /// The steps of a task.
    pub(crate) fn steps_of(&self, task: Uuid) -> impl Iterator<Item = (StepId, &StepFacts)> {
        self.steps.range((task, 0)..=(task, i16::MAX)).map(|(id, step)| (*id, step))
    }
}

async fn tasks_of(pool: &PgPool, tasks: &[Uuid]) -> Result<BTreeMap<Uuid, TaskFacts>> {
    let rows = sqlx::query(
        "select task_id, state::text, total_steps, completed_steps, failed_steps, active_steps, started_at, completed_at
         from tasker.tasks where task_id = any ($1)",
    )
    .bind(tasks)
    .fetch_all(pool)
    .await?;
    let task = |row: &PgRow| -> Result<_> {
        Ok((
            row.try_get(0)?,
            TaskFacts {
                state: TaskState::from_str(row.try_get(1)?)?,
                total_steps: row.try_get(2)?,
                completed_steps: row.try_get(3)?,
                failed_steps: row.try_get(4)?,
                active_steps: row.try_get(5)?,
                started_at: row.try_get(6)?,
                completed_at: row.try_get(7)?,
            },
        ))
    };
    rows.iter().map(task).collect()
}

async fn steps_of(pool: &PgPool, tasks: &[Uuid]) -> Result<BTreeMap<StepId, StepFacts>> {
    let rows = sqlx::query(
        "select task_id, step_no, state::text, pending_dependencies, attempts, due_at, started_at, completed_at, token,
                result, error is not null
         from tasker.steps where task_id = any ($1)",
    )
    .bind(tasks)
    .fetch_all(pool)
    .await?;
    let step = |row: &PgRow| -> Result<_> {
        Ok((
            (row.try_get(0)?, row.try_get(1)?),
            StepFacts {
                state: StepState::from_str(row.try_get(2)?)?,
                pending_dependencies: row.try_get(3)?,
                attempts: row.try_get(4)?,
                due_at: row.try_get(5)?,
                started_at: row.try_get(6)?,
                completed_at: row.try_get(7)?,
                token: row.try_get(8)?,
                result: row.try_get(9)?,
                has_error: row.try_get(10)?,
            },
        ))
    };
    rows.iter().map(step).collect()
}

pub(crate) async fn messages(pool: &PgPool) -> Result<BTreeMap<(usize, i64), Message>> {
    let rows = sqlx::query(
        "select 0, msg_id, vt, read_ct, (message ->> 'task_id')::uuid, (message ->> 'step_no')::smallint
         from pgmq.q_model_a
         union all
         select 1, msg_id, vt, read_ct, (message ->> 'task_id')::uuid, (message ->> 'step_no')::smallint
         from pgmq.q_model_b",
    )
    .fetch_all(pool)
    .await?;
    let message = |row: &PgRow| -> Result<_> {
        let namespace = usize::try_from(row.try_get::<i32, _>(0)?)?;
        let step = (row.try_get(4)?, row.try_get(5)?);
        let message = Message { visible_at: row.try_get(2)?, read_count: row.try_get(3)?, step };
        Ok(((namespace, row.try_get(1)?), message))
    };
    rows.iter().map(message).collect()
}
