//! Claiming steps, recording their results, and extending leases.

use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::decode::Decode;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::PgRecordEncoder;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, Postgres};
use sqlx::{FromRow, Type, TypeInfo};
use uuid::Uuid;

use crate::Engine;
use crate::arguments::{count, interval};
use crate::statements::statements;

statements! {
    /// The casts select this function. The function of release 0.1 has the same number of arguments.
    START_STEPS = "select * from tasker.start_steps($1, $2, $3::interval[], $4::integer, $5::interval)";
    COMPLETE_STEPS = "select refused, handed from tasker.complete_steps($1, $2, $3, $4, $5)";
    EXTEND_LEASES = "select tasker.extend_leases($1, $2)";
}

/// A step that a worker has claimed, with everything that the worker needs to run it and to return its result.
#[derive(Debug, Clone, PartialEq, FromRow, Decode)]
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
    /// The handler's `initialization` from the template.
    pub initialization: Value,
    /// The task's input.
    pub context: Value,
    /// An object with the results of the step's dependencies by step name.
    pub dependency_results: Value,
    /// The number of this attempt, from 1.
    pub attempt: i16,
    /// The maximum number of attempts.
    pub max_attempts: i16,
    /// The time limit of the attempt, in seconds.
    pub timeout_seconds: i32,
    /// The time for which the step's message was visible in the queue, in seconds. None if the step was handed to the
    /// worker that made it ready.
    pub waited_seconds: Option<f64>,
    /// What the handler receives besides `context` and `dependency_results`: an object, whose fields are those of
    /// `tasker.steps.input`.
    pub input: Option<Value>,
    /// The W3C trace context of the request that created the task.
    pub traceparent: Option<String>,
}

/// Identifies a claimed step in later calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Type)]
#[sqlx(type_name = "tasker.step_ref")]
pub struct StepRef {
    /// The task's namespace.
    pub namespace: String,
    /// The step's message in the namespace's queue.
    pub msg_id: i64,
    /// The task.
    pub task_id: Uuid,
    /// The step's number in its task.
    pub step_no: i16,
    /// The fencing token of the lease.
    pub token: Uuid,
}

impl ClaimedStep {
    /// The reference to this step for later calls.
    pub fn step_ref(&self) -> StepRef {
        StepRef {
            namespace: self.namespace.clone(),
            msg_id: self.msg_id,
            task_id: self.task_id,
            step_no: self.step_no,
            token: self.token,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum StepOutcome {
    /// It completed with this result.
    Completed(Value),
    /// It failed with an error (an object with `kind` and `message`). Another attempt may succeed.
    RetryableError(Value),
    /// It failed with an error. No other attempt would succeed.
    PermanentError(Value),
    /// It was not run. The step is released, and the attempt does not count.
    Released,
    /// It continues later. The attempt does not count.
    Waiting(Wait),
}

/// What a step waits for. Without a delay and a signal, it continues at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wait {
    /// The longest time. None: until the signal arrives.
    pub delay: Option<Duration>,
    /// The signal that ends the wait.
    pub signal: Option<String>,
    /// What the next attempt receives as its checkpoint. None: the one that this attempt has.
    pub checkpoint: Option<Value>,
}

impl Wait {
    /// The payload of the outcome.
    fn payload(&self) -> Value {
        let delay = self.delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).into());
        let signal = self.signal.clone().map(Value::String);
        let fields = [("delay_ms", delay), ("signal", signal), ("checkpoint", self.checkpoint.clone())];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// The outcome of a claimed step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// The step.
    pub step: StepRef,
    /// How its attempt ended.
    pub outcome: StepOutcome,
}

/// The effect of a batch of results.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    /// The steps whose results were refused: task and step number. Another worker holds the step, or it was cancelled
    /// or resolved.
    pub refused: Vec<(Uuid, i16)>,
    /// Steps that the batch made ready, handed to the worker that sent it.
    pub handed: Vec<ClaimedStep>,
}

impl Engine {
    /// Claims up to `limit` steps for the duration of `lease`. It searches the namespaces in the given order.
    ///
    /// `look_back` has one element for each namespace. A claim finds only messages that became visible within this
    /// time; none means any time. A caller that knows that no older messages exist saves the database a longer search.
    ///
    /// # Errors
    /// When the database fails. Nothing is claimed then.
    pub async fn start_steps(
        &self,
        worker_id: &str,
        namespaces: &[String],
        limit: u32,
        lease: Duration,
        look_back: &[Option<Duration>],
    ) -> sqlx::Result<Vec<ClaimedStep>> {
        let look_back: Vec<_> = look_back.iter().map(|span| span.map(interval)).collect();
        sqlx::query_as(START_STEPS)
            .bind(worker_id)
            .bind(namespaces)
            .bind(look_back)
            .bind(count(limit))
            .bind(interval(lease))
            .fetch_all(&self.pool)
            .await
    }

    /// Records a batch of results in one durable transaction. The same transaction claims up to `take` steps of
    /// `namespaces` that become ready, and hands them to the worker.
    ///
    /// # Errors
    /// When the database fails. Nothing is recorded then, unless the connection broke during the commit. The caller can
    /// send the same batch again: the engine refuses the results that it has already recorded.
    pub async fn complete_steps(
        &self,
        worker_id: &str,
        namespaces: &[String],
        take: u32,
        lease: Duration,
        results: &[StepResult],
    ) -> sqlx::Result<Completion> {
        let (refused, handed): (Vec<i32>, Vec<ClaimedStep>) = sqlx::query_as(COMPLETE_STEPS)
            .bind(worker_id)
            .bind(namespaces)
            .bind(count(take))
            .bind(interval(lease))
            .bind(results)
            .fetch_one(&self.pool)
            .await?;
        let refused = refused.into_iter().filter_map(|position| at(results, position)).map(|result| &result.step);
        Ok(Completion { refused: refused.map(|step| (step.task_id, step.step_no)).collect(), handed })
    }

    /// Extends the leases of running steps. Returns the steps that the worker still holds, as task and step number. The
    /// other leases are lost, and the engine will refuse the results of their steps.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn extend_leases(&self, lease: Duration, steps: &[StepRef]) -> sqlx::Result<Vec<(Uuid, i16)>> {
        let held: Vec<i32> =
            sqlx::query_scalar(EXTEND_LEASES).bind(interval(lease)).bind(steps).fetch_all(&self.pool).await?;
        Ok(held
            .into_iter()
            .filter_map(|position| at(steps, position))
            .map(|step| (step.task_id, step.step_no))
            .collect())
    }
}

/// The element at an SQL position. SQL counts from 1.
fn at<T>(elements: &[T], position: i32) -> Option<&T> {
    elements.get(usize::try_from(position).ok()?.checked_sub(1)?)
}

/// The composite type `tasker.leased_step`. PostgreSQL names it with or without its schema, as the search path of the session
/// says, so both names are accepted.
impl Type<Postgres> for ClaimedStep {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("tasker.leased_step")
    }

    fn compatible(info: &PgTypeInfo) -> bool {
        matches!(info.name(), "tasker.leased_step" | "leased_step")
    }
}

impl PgHasArrayType for ClaimedStep {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("tasker.leased_step")
    }

    fn array_compatible(info: &PgTypeInfo) -> bool {
        matches!(info.name(), "tasker.leased_step[]" | "leased_step[]")
    }
}

/// The name of a [`StepOutcome`] in the database.
#[derive(Debug, Clone, Copy, Type)]
#[sqlx(type_name = "tasker.outcome", rename_all = "snake_case")]
enum OutcomeName {
    Completed,
    RetryableError,
    PermanentError,
    Released,
    Waiting,
}

/// Encodes the composite type `tasker.step_result`. A derived implementation would copy the payload.
impl Encode<'_, Postgres> for StepResult {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let wait;
        let (outcome, payload) = match &self.outcome {
            StepOutcome::Completed(value) => (OutcomeName::Completed, Some(value)),
            StepOutcome::RetryableError(error) => (OutcomeName::RetryableError, Some(error)),
            StepOutcome::PermanentError(error) => (OutcomeName::PermanentError, Some(error)),
            StepOutcome::Released => (OutcomeName::Released, None),
            StepOutcome::Waiting(value) => {
                wait = value.payload();
                (OutcomeName::Waiting, Some(&wait))
            }
        };
        let mut record = PgRecordEncoder::new(buffer);
        record
            .encode(&self.step.namespace)?
            .encode(self.step.msg_id)?
            .encode(self.step.task_id)?
            .encode(self.step.step_no)?
            .encode(self.step.token)?
            .encode(outcome)?
            .encode(payload)?;
        record.finish();
        Ok(IsNull::No)
    }
}

impl Type<Postgres> for StepResult {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("tasker.step_result")
    }
}

impl PgHasArrayType for StepResult {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("tasker.step_result")
    }
}
