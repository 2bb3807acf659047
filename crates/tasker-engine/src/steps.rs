//! Claiming steps, recording their results, keeping leases.

use std::time::Duration;

use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use crate::Engine;

/// A step that a worker has claimed: all that it needs to run it and to give its result back.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct ClaimedStep {
    /// The task.
    pub task_id: Uuid,
    /// The step's number in its task.
    pub step_no: i16,
    /// The fencing token of the lease.
    pub token: Uuid,
    /// The step's message in the namespace's queue.
    pub msg_id: i64,
    /// The task's namespace.
    pub namespace: String,
    /// The task's template.
    pub template_name: String,
    /// The template's version.
    pub template_version: String,
    /// The step's name.
    pub step_name: String,
    /// The name of the handler to call.
    pub callable: String,
    /// What the template says to the handler.
    pub initialization: Value,
    /// The task's input.
    pub context: Value,
    /// An object: the results of the step's dependencies by their names.
    pub dependency_results: Value,
    /// Which attempt this is, from 1.
    pub attempt: i16,
    /// How many attempts there may be.
    pub max_attempts: i16,
    /// How long the attempt may take, in seconds.
    pub timeout_seconds: i32,
    /// How long its message had been visible in the queue, in seconds; none if the step was handed to the worker that made it ready.
    pub waited_seconds: Option<f64>,
}

/// Names a claimed step in later calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepRef {
    /// The task.
    pub task_id: Uuid,
    /// The step's number in its task.
    pub step_no: i16,
    /// The fencing token of the lease.
    pub token: Uuid,
    /// The task's namespace.
    pub namespace: String,
    /// The step's message in the namespace's queue.
    pub msg_id: i64,
}

impl ClaimedStep {
    /// What names this step in later calls.
    pub fn step_ref(&self) -> StepRef {
        StepRef {
            task_id: self.task_id,
            step_no: self.step_no,
            token: self.token,
            namespace: self.namespace.clone(),
            msg_id: self.msg_id,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum StepOutcome {
    /// With this result.
    Completed(Value),
    /// With an error (an object with `kind` and `message`) that another attempt may not meet.
    RetryableError(Value),
    /// With an error that every attempt will meet.
    PermanentError(Value),
    /// Not run: handed back, and not counted.
    Released,
}

/// The outcome of a claimed step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// The step.
    pub step: StepRef,
    /// How its attempt ended.
    pub outcome: StepOutcome,
}

/// What became of a batch of results.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// Results that did not count: task and step number. Somebody else holds the step, or it is no longer wanted.
    pub refused: Vec<(Uuid, i16)>,
    /// Steps that the batch made ready, handed to the worker that sent it.
    pub handed: Vec<ClaimedStep>,
}

impl Engine {
    /// Claims up to `limit` steps of `namespaces`, in their order, for the length of `lease`.
    ///
    /// `look_back` says for each namespace how long ago a message may have become visible to be found; where it says nothing,
    /// any time. A caller that knows that nothing older is there saves the database the way past what was there.
    ///
    /// # Errors
    /// When the database fails; nothing is claimed then.
    pub async fn start_steps(
        &self,
        worker_id: &str,
        namespaces: &[String],
        limit: u32,
        lease: Duration,
        look_back: &[Option<Duration>],
    ) -> sqlx::Result<Vec<ClaimedStep>> {
        let look_back: Vec<_> = look_back.iter().map(|span| span.map(interval)).collect();
        sqlx::query_as("select * from tasker.start_steps($1, $2, $3, $4, $5)")
            .bind(worker_id)
            .bind(namespaces)
            .bind(count(limit))
            .bind(interval(lease))
            .bind(look_back)
            .fetch_all(&self.pool)
            .await
    }

    /// Records a batch of results in one durable transaction. Up to `take` steps of `namespaces` that this makes ready are
    /// claimed for the worker at once.
    ///
    /// # Errors
    /// When the database fails. Unless the connection broke at the very commit, nothing is recorded then; the same batch may be
    /// sent again: what was recorded is refused.
    pub async fn complete_steps(
        &self,
        worker_id: &str,
        namespaces: &[String],
        take: u32,
        lease: Duration,
        results: &[StepResult],
    ) -> sqlx::Result<Completion> {
        let refs = Columns::of(results.iter().map(|result| &result.step));
        let mut outcomes = Vec::with_capacity(results.len());
        let mut payloads = Vec::with_capacity(results.len());
        for result in results {
            let (outcome, payload) = match &result.outcome {
                StepOutcome::Completed(value) => ("completed", Some(value)),
                StepOutcome::RetryableError(error) => ("retryable_error", Some(error)),
                StepOutcome::PermanentError(error) => ("permanent_error", Some(error)),
                StepOutcome::Released => ("released", None),
            };
            outcomes.push(outcome);
            payloads.push(payload);
        }
        let rows: Vec<CompletionRow> =
            sqlx::query_as("select * from tasker.complete_steps($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
                .bind(worker_id)
                .bind(namespaces)
                .bind(count(take))
                .bind(interval(lease))
                .bind(refs.namespaces)
                .bind(refs.msg_ids)
                .bind(refs.task_ids)
                .bind(refs.step_nos)
                .bind(refs.tokens)
                .bind(outcomes)
                .bind(payloads)
                .fetch_all(&self.pool)
                .await?;
        let mut completion = Completion::default();
        for row in rows {
            match row {
                CompletionRow::Refused(task_id, step_no) => completion.refused.push((task_id, step_no)),
                CompletionRow::Handed(step) => completion.handed.push(*step),
            }
        }
        Ok(completion)
    }

    /// Extends the leases of running steps. Returns the ones still held, as task and step number; the others are lost, and
    /// their results will be refused.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn extend_leases(&self, lease: Duration, steps: &[StepRef]) -> sqlx::Result<Vec<(Uuid, i16)>> {
        let refs = Columns::of(steps);
        sqlx::query_as("select task_id, step_no from tasker.extend_leases($1, $2, $3, $4, $5, $6)")
            .bind(interval(lease))
            .bind(refs.namespaces)
            .bind(refs.msg_ids)
            .bind(refs.task_ids)
            .bind(refs.step_nos)
            .bind(refs.tokens)
            .fetch_all(&self.pool)
            .await
    }
}

/// Steps as the columns that the SQL functions take.
struct Columns<'a> {
    namespaces: Vec<&'a str>,
    msg_ids: Vec<i64>,
    task_ids: Vec<Uuid>,
    step_nos: Vec<i16>,
    tokens: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    fn of(steps: impl IntoIterator<Item = &'a StepRef>) -> Self {
        let mut columns =
            Self { namespaces: vec![], msg_ids: vec![], task_ids: vec![], step_nos: vec![], tokens: vec![] };
        for step in steps {
            columns.namespaces.push(&step.namespace);
            columns.msg_ids.push(step.msg_id);
            columns.task_ids.push(step.task_id);
            columns.step_nos.push(step.step_no);
            columns.tokens.push(step.token);
        }
        columns
    }
}

enum CompletionRow {
    Refused(Uuid, i16),
    Handed(Box<ClaimedStep>),
}

impl<'r> FromRow<'r, sqlx::postgres::PgRow> for CompletionRow {
    fn from_row(row: &'r sqlx::postgres::PgRow) -> sqlx::Result<Self> {
        use sqlx::Row;
        if row.try_get("refused")? {
            Ok(Self::Refused(row.try_get("task_id")?, row.try_get("step_no")?))
        } else {
            ClaimedStep::from_row(row).map(|step| Self::Handed(Box::new(step)))
        }
    }
}

pub(super) fn count(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

pub(super) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
