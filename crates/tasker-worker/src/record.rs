//! Records the results of attempts, and starts the steps that this hands to the worker.
//!
//! Batches are natural: while one is being written, others gather. A lone result does not wait for company.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tasker_engine::{Completion, StepOutcome, StepResult};
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;

use crate::attempt;
use crate::outage::{Outage, bounded};
use crate::outcome;
use crate::shared::{Finished, MAX_BATCH, Shared, Slots};

/// How many batches may be on their way to the database at once: as many copies of the loop run.
pub(crate) const BATCHES_IN_FLIGHT: usize = 1;

/// Records results until the worker has ended.
pub(crate) async fn record_results(shared: Arc<Shared>, finished: Arc<Mutex<mpsc::UnboundedReceiver<Finished>>>) {
    let recording = async {
        loop {
            let mut attempts = Vec::new();
            finished.lock().await.recv_many(&mut attempts, MAX_BATCH).await;
            if let Some(batch) = Batch::of(attempts) {
                record(&shared, batch).await;
            }
        }
    };
    shared.ended.run_until_cancelled(recording).await;
}

/// Results with their slots: as many as results, or more.
struct Batch {
    results: Vec<StepResult>,
    slots: Slots,
    /// A single result that was replaced by an error, because PostgreSQL refused it.
    replaced: bool,
}

impl Batch {
    fn of(attempts: Vec<Finished>) -> Option<Self> {
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
            Some(Self { results: vec![result], slots: self.slots.split(1)?, replaced: false })
        })
    }
}

/// Records a batch, however long it takes. Results that PostgreSQL refuses become errors of their steps.
async fn record(shared: &Arc<Shared>, batch: Batch) {
    let mut batches = vec![batch];
    while let Some(mut batch) = batches.pop() {
        let Err(refusal) = deliver(shared, &mut batch).await else { continue };
        match batch.results.as_mut_slice() {
            [result] if batch.replaced => {
                // Its lease ends by itself, and the step is tried again.
                tracing::error!(task = %result.step.task_id, %refusal, "a result cannot be recorded; it is dropped");
                shared.running.remove(&result.step);
            }
            [result] => {
                tracing::warn!(task = %result.step.task_id, %refusal, "PostgreSQL refuses a result; its step fails");
                result.outcome = outcome::of_refused_payload(&refusal.to_string());
                batch.replaced = true;
                batches.push(batch);
            }
            _ => batches.extend(batch.into_single_results()),
        }
    }
}

/// Sends a batch until the database has taken it, or refuses what is in it.
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
                outage.over();
                shared.metrics.recorded(batch.results.len(), began.elapsed());
                settle(shared, batch, completion);
                return Ok(());
            }
            Err(error) => {
                shared.metrics.database_failed("record");
                if is_about_the_batch(&error) {
                    return Err(error);
                }
                // The spare slots go back while the database is away.
                let spare = batch.slots.num_permits().saturating_sub(batch.results.len());
                drop(batch.slots.split(spare));
                sleep(outage.failed(&error)).await;
            }
        }
    }
}

/// Forgets what was recorded, and starts what was handed over.
fn settle(shared: &Arc<Shared>, batch: &mut Batch, completion: Completion) {
    let refused: HashSet<_> = completion.refused.into_iter().collect();
    for StepResult { step, outcome } in &batch.results {
        shared.running.remove(step);
        let outcome = match outcome {
            _ if refused.contains(&(step.task_id, step.step_no)) => {
                tracing::debug!(task = %step.task_id, step_no = step.step_no, "a result came too late and was refused");
                "refused"
            }
            StepOutcome::Completed(_) => "completed",
            StepOutcome::RetryableError(_) => "retryable_error",
            StepOutcome::PermanentError(_) => "permanent_error",
            StepOutcome::Released => "released",
        };
        shared.metrics.attempt_ended(&step.namespace, outcome);
    }
    // The loop that claims waits for the next due time, and these may be nearer.
    let retried = |result: &&StepResult| matches!(result.outcome, StepOutcome::RetryableError(_));
    let retries = batch.results.iter().filter(retried).map(|result| &result.step.namespace);
    if retries.clone().next().is_some() {
        shared.wake.ring(retries, Some(Instant::now()));
    }
    for step in completion.handed {
        if let Some(slot) = batch.slots.split(1) {
            attempt::start(shared, step, slot);
        }
    }
}

/// Whether the error comes from what is in the batch, so that the same batch will meet it again.
fn is_about_the_batch(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        // Classes of SQLSTATE: data exception, constraint violation, program limit exceeded.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        }
        _ => false,
    }
}
