//! The load: clients that each create a task, wait until it is where it should be, and start again.
//!
//! A client that gets no response repeats its request, on other servers too, as an application should: task creation
//! has an idempotency key, and repeating an operator's action changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tasker_api::{OperatorAction, ResolveStep, SendSignal, StepState, TaskDetail, TaskState};
use tasker_client::{ClientError, OrchestrationApiClient, OrchestrationClient};
use tokio::time::sleep;
use uuid::Uuid;

use crate::field::Field;
use crate::ledger::Verdict;
use crate::workflows::{DOOMED, Plot, SIGNAL, Work};

/// How long one request waits for a task to be at rest.
const WAIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// The tasks whose creation was acknowledged, each with the final state that the API reported.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(Mutex<BTreeMap<Uuid, Option<TaskState>>>);

impl Acknowledged {
    /// Adds a task that no client follows.
    pub(crate) fn insert(&self, id: Uuid) {
        self.0.lock().insert(id, None);
    }

    /// All of them.
    pub(crate) fn tasks(&self) -> Vec<(Uuid, Option<TaskState>)> {
        self.0.lock().iter().map(|(id, state)| (*id, *state)).collect()
    }
}

/// A client. Finishes when its task is at rest after `closing`, or at once when the campaign is `over`.
pub(crate) async fn client(field: Arc<Field>, acknowledged: Arc<Acknowledged>, number: usize, seed: u64) {
    let mut client = Client { field: &field, turn: number, rng: Rng::with_seed(seed) };
    let work = async {
        while !field.closing.is_cancelled() {
            if let Err(error) = client.one_task(&acknowledged).await {
                field.ledger.violation(error);
            }
        }
    };
    field.over.run_until_cancelled(work).await;
}

/// Sends requests.
pub(crate) struct Client<'a> {
    pub(crate) field: &'a Field,
    /// Which server is asked next.
    pub(crate) turn: usize,
    pub(crate) rng: Rng,
}

impl Client<'_> {
    /// Follows a task from its creation to its end. The error is a violation.
    async fn one_task(&mut self, acknowledged: &Acknowledged) -> Result<(), String> {
        let work = Work::draw(&mut self.rng);
        let created = self.ask(async |api| api.create_task(&work.request).await).await;
        let id = created.map_err(|error| format!("a task could not be created: {error}"))?.task_uuid;
        if acknowledged.0.lock().insert(id, None).is_some() {
            return Err(format!("task {id} was created for two different keys"));
        }
        match work.plot {
            Plot::Completes => {}
            Plot::NeedsOperator => self.decide(id).await?,
            Plot::IsCancelled => {
                sleep(Duration::from_millis(self.rng.u64(0..2_000))).await;
                let action = by_campaign();
                self.act(async |api| api.cancel_task(id, &action).await).await?;
            }
            Plot::NeedsSignal => {
                // Before the step waits, or after.
                sleep(Duration::from_millis(self.rng.u64(0..4_000))).await;
                let signal = SendSignal { payload: serde_json::json!({ "n": 1 }), actor: None };
                for _ in 0..2 {
                    let sent = self.ask(async |api| api.send_signal(id, SIGNAL, &signal).await).await;
                    sent.map_err(|error| format!("a signal to task {id} was refused: {error}"))?;
                }
            }
        }
        let task = self.at_rest(id).await?;
        self.field.ledger.task(task.summary.status);
        acknowledged.0.lock().insert(id, Some(task.summary.status));
        work.wrong(&task).map_or(Ok(()), |wrong| Err(format!("task {id} {wrong}")))
    }

    /// Does what an operator does with a task that cannot complete by itself.
    async fn decide(&mut self, id: Uuid) -> Result<(), String> {
        for _ in 0..2 {
            let task = self.at_rest(id).await?;
            if task.summary.status != TaskState::BlockedByFailures {
                return Err(format!("task {id} is not blocked: {task:?}"));
            }
            let action = by_campaign();
            self.act(async |api| api.retry_task(id, &action).await).await?;
        }
        let resolution = ResolveStep {
            result: serde_json::json!("resolved"),
            actor: Some("campaign".to_owned()),
            reason: Some("the end of the plot".to_owned()),
        };
        self.at_rest(id).await?;
        self.act(async |api| api.resolve_step(id, DOOMED, &resolution).await).await
    }

    /// An operator's action. A 409 means that an earlier request was carried out, although its response was lost.
    async fn act<T>(
        &mut self,
        call: impl AsyncFn(OrchestrationClient) -> Result<T, ClientError>,
    ) -> Result<(), String> {
        match self.ask(call).await {
            Ok(_) => Ok(()),
            Err(ClientError::Problem(problem)) if problem.status == 409 => Ok(()),
            Err(error) => Err(format!("an operator's action was refused: {error}")),
        }
    }

    /// Waits until a task is at rest. If it is blocked because workers were lost too often, gives it new attempts.
    async fn at_rest(&mut self, id: Uuid) -> Result<TaskDetail, String> {
        loop {
            let task = self.ask(async |api| api.get_task_at_rest(id, WAIT).await).await;
            let task = task.map_err(|error| format!("task {id} was acknowledged, but now: {error}"))?;
            let exhausted = exhausted_steps(&task);
            if exhausted > 0 && task.summary.status == TaskState::BlockedByFailures {
                self.field.ledger.entries().exhausted += exhausted;
                let action = by_campaign();
                self.act(async |api| api.retry_task(id, &action).await).await?;
            } else if task.summary.status.is_at_rest() {
                return Ok(task);
            } else {
                // A server that is shutting down responds at once.
                sleep(PAUSE).await;
            }
        }
    }

    /// Repeats a request, on one server after the other, until there is a response.
    pub(crate) async fn ask<T>(
        &mut self,
        call: impl AsyncFn(OrchestrationClient) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        loop {
            self.turn = self.turn.wrapping_add(1);
            // Fails only for addresses that no server can have.
            if let Ok(api) = self.field.stack.api(self.turn) {
                match call(api).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) if self.field.ledger.answer(&error) == Verdict::Refused => return Err(error),
                    Err(_) => {}
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// How many steps failed because their workers were lost.
fn exhausted_steps(task: &TaskDetail) -> u64 {
    let lost = |step: &&tasker_api::StepDetail| {
        let kind = step.error.as_ref().and_then(|error| error.get("kind")?.as_str());
        step.status == StepState::Failed && kind == Some("lease_ended")
    };
    task.steps.iter().filter(lost).count() as u64
}

fn by_campaign() -> OperatorAction {
    OperatorAction { actor: Some("campaign".to_owned()), reason: Some("part of the plot".to_owned()) }
}
