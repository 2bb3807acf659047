//! Records the results of attempts, and starts the steps that the engine claims for the worker in the same call.
//!
//! While one batch is being written, the next results collect and form the next batch. A single result is written at
//! once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tasker_engine::{Completion, Failure, StepOutcome, StepResult};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::attempt;
use crate::metrics::Ended;
use crate::outage::{Outage, bounded};
use crate::outcome;
use crate::shared::{Finished, MAX_BATCH, Shared, Slots};

/// Records results until the worker has stopped.
pub(crate) async fn record_results(shared: Arc<Shared>, mut finished: mpsc::UnboundedReceiver<Finished>) {
    let recording = async {
        let mut attempts = Vec::new();
        // The channel stays open: `shared` holds a sender.
        while finished.recv_many(&mut attempts, MAX_BATCH).await > 0 {
            if let Some(batch) = Batch::of(attempts.drain(..)) {
                record(&shared, batch).await;
            }
        }
    };
    shared.ended.run_until_cancelled(recording).await;
}

/// Results with their slots. Some results may have none.
struct Batch {
    results: Vec<StepResult>,
    slots: Slots,
    /// Whether the only result is an error that replaces a result that PostgreSQL refused.
    replaced: bool,
}

impl Batch {
    fn of(attempts: impl Iterator<Item = Finished>) -> Option<Self> {
        let mut batch: Option<Self> = None;
        for Finished { result, slot } in attempts {
            match &mut batch {
                Some(batch) => {
                    batch.results.push(result);
                    batch.slots.merge(slot);
                }
                None => batch = Some(Self { results: vec![result], slots: slot, replaced: false }),
            }
        }
        batch
    }

    fn into_single_results(mut self) -> impl Iterator<Item = Self> {
        let results = std::mem::take(&mut self.results);
        results.into_iter().filter_map(move |result| {
            let slots = self.slots.split(self.slots.num_permits().min(1))?;
            Some(Self { results: vec![result], slots, replaced: false })
        })
    }
}

/// Records a batch, however long it takes. If PostgreSQL refuses a result, its step fails.
async fn record(shared: &Arc<Shared>, batch: Batch) {
    let mut batches = vec![batch];
    while let Some(mut batch) = batches.pop() {
        let Err(refusal) = deliver(shared, &mut batch).await else { continue };
        match batch.results.as_mut_slice() {
            [result] if batch.replaced => {
                // Its lease expires, and the step runs again.
                tracing::error!(task = %result.step.task_id, %refusal, "a result cannot be recorded and is dropped");
                shared.running.remove(&result.step);
            }
            [result] => {
                tracing::warn!(task = %result.step.task_id, %refusal, "PostgreSQL refused a result; its step fails");
                result.outcome = outcome::of_refused_payload(&refusal.to_string());
                batch.replaced = true;
                batches.push(batch);
            }
            _ => batches.extend(batch.into_single_results()),
        }
    }
}

/// Sends a batch until the database accepts it. The error means that PostgreSQL refuses what is in it.
async fn deliver(shared: &Arc<Shared>, batch: &mut Batch) -> Result<(), sqlx::Error> {
    let mut outage = Outage::new("record results");
    loop {
        let draining = shared.draining.is_cancelled();
        if let Some(spare) = shared.spare_slots() {
            batch.slots.merge(spare);
        }
        let take = if draining { 0 } else { u32::try_from(batch.slots.num_permits()).unwrap_or(u32::MAX) };
        let began = Instant::now();
        let call = shared.engine.complete_steps(
            &shared.worker_id,
            &shared.namespaces,
            take,
            shared.settings.lease(),
            &batch.results,
        );
        match bounded(call).await {
            Ok(completion) => {
                outage.recovered();
                shared.metrics.recorded(batch.results.len(), began.elapsed());
                settle(shared, batch, completion);
                return Ok(());
            }
            Err(error) => {
                shared.metrics.database_failed("record");
                if Failure::of(&error) == Failure::BadData {
                    return Err(error);
                }
                // Give back the spare slots during the outage.
                let spare = batch.slots.num_permits().saturating_sub(batch.results.len());
                drop(batch.slots.split(spare));
                sleep(outage.failed(&error)).await;
            }
        }
    }
}

/// Forgets the recorded steps, and starts the steps that the engine has claimed.
fn settle(shared: &Arc<Shared>, batch: &mut Batch, completion: Completion) {
    let refused: HashSet<_> = completion.refused.into_iter().collect();
    for StepResult { step, outcome } in &batch.results {
        shared.running.remove(step);
        let outcome = match outcome {
            _ if refused.contains(&(step.task_id, step.step_no)) => {
                tracing::debug!(task = %step.task_id, step_no = step.step_no, "a result was too late and was refused");
                Ended::Refused
            }
            StepOutcome::Completed(_) => Ended::Completed,
            StepOutcome::RetryableError(_) => Ended::RetryableError,
            StepOutcome::PermanentError(_) => Ended::PermanentError,
            StepOutcome::Released => Ended::Released,
            StepOutcome::Waiting(_) => Ended::Waiting,
        };
        shared.metrics.attempt_ended(&step.namespace, outcome);
    }
    // The `claim` loop sleeps until the next message is due. These retries and waits may be due earlier.
    let retried =
        |result: &&StepResult| matches!(result.outcome, StepOutcome::RetryableError(_) | StepOutcome::Waiting(_));
    let retries = batch.results.iter().filter(retried).map(|result| &result.step.namespace);
    if retries.clone().next().is_some() {
        shared.wake.notify(retries, Some(Instant::now()));
    }
    for step in completion.handed {
        if let Some(slot) = batch.slots.split(1) {
            attempt::start(shared, step, slot);
        }
    }
}
