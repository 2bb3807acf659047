//! Tasks that keep coming: clients that each create a task, wait until it has come to where it must, and begin again.
//!
//! A client that gets no answer asks again, another server too, as an application should: creation has an idempotency key, and the
//! operators' actions change nothing when they are repeated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tasker_api::{OperatorAction, ResolveStep, StepState, TaskDetail, TaskState};
use tasker_client::{ClientError, OrchestrationApiClient, OrchestrationClient};
use tokio::time::sleep;
use uuid::Uuid;

use crate::field::Field;
use crate::ledger::Verdict;
use crate::workflows::{DOOMED, Plot, Work};

/// How long one request waits for a task to come to rest.
const WAIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// The tasks whose creation was acknowledged, with the final states in which they were seen.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(Mutex<BTreeMap<Uuid, Option<TaskState>>>);

impl Acknowledged {
    /// All of them.
    pub(crate) fn tasks(&self) -> Vec<(Uuid, Option<TaskState>)> {
        self.lock().iter().map(|(id, state)| (*id, *state)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Option<TaskState>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client. Ends when its task has come to rest after the field has closed, or when the field is over.
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

struct Client<'a> {
    field: &'a Field,
    /// Whose turn it is of the servers.
    turn: usize,
    rng: Rng,
}

impl Client<'_> {
    /// Sees a task from its creation to its end. What should not be is the error.
    async fn one_task(&mut self, acknowledged: &Acknowledged) -> Result<(), String> {
        let work = Work::draw(&mut self.rng);
        let created = self.ask(async |api| api.create_task(&work.request).await).await;
        let id = created.map_err(|error| format!("a task was not created: {error}"))?.task_uuid;
        if acknowledged.lock().insert(id, None).is_some() {
            return Err(format!("task {id} was created for two different keys"));
        }
        match work.plot {
            Plot::Completes => {}
            Plot::NeedsOperator => self.decide(id).await?,
            Plot::IsCancelled => {
                sleep(Duration::from_millis(self.rng.u64(0..2_000))).await;
                let action = by_campaign();
                // 409: a request of which we have not heard was carried out.
                self.act(async |api| api.cancel_task(id, &action).await).await?;
            }
        }
        let task = self.at_rest(id).await?;
        self.field.ledger.task(task.summary.status);
        acknowledged.lock().insert(id, Some(task.summary.status));
        work.wrong(&task).map_or(Ok(()), |wrong| Err(format!("task {id} {wrong}")))
    }

    /// What an operator does with a task that cannot complete by itself.
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

    /// An operator's action. Refused with 409, an earlier request of which we have not heard was carried out.
    async fn act<T>(
        &mut self,
        call: impl AsyncFn(OrchestrationClient) -> Result<T, ClientError>,
    ) -> Result<(), String> {
        match self.ask(call).await {
            Ok(_) => Ok(()),
            Err(ClientError::Problem(problem)) if problem.status == 409 => Ok(()),
            Err(error) => Err(format!("an operator was refused: {error}")),
        }
    }

    /// A task that has come to rest. If it is blocked because workers were lost too often, it is given new attempts.
    async fn at_rest(&mut self, id: Uuid) -> Result<TaskDetail, String> {
        loop {
            let task = self.ask(async |api| api.get_task_at_rest(id, WAIT).await).await;
            let task = task.map_err(|error| format!("task {id} was acknowledged, and now: {error}"))?;
            let exhausted = exhausted_steps(&task);
            if exhausted > 0 && task.summary.status == TaskState::BlockedByFailures {
                self.field.ledger.entries().exhausted += exhausted;
                let action = by_campaign();
                self.act(async |api| api.retry_task(id, &action).await).await?;
            } else if task.summary.status.is_at_rest() {
                return Ok(task);
            } else {
                // A server that shuts down answers at once.
                sleep(PAUSE).await;
            }
        }
    }

    /// Asks until there is an answer, one server after the other.
    async fn ask<T>(
        &mut self,
        call: impl AsyncFn(OrchestrationClient) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        loop {
            self.turn = self.turn.wrapping_add(1);
            // Fails only for addresses that no server has.
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

/// How many steps have failed because their workers were lost.
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
