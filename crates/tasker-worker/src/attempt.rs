//! One attempt of a step: from the claim to the outcome.

use std::sync::Arc;
use std::time::Duration;

use tasker_engine::{ClaimedStep, StepOutcome, StepResult};
use tokio::task::JoinError;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::context::StepContext;
use crate::error::HandlerResult;
use crate::metrics::Ended;
use crate::outcome;
use crate::shared::{Finished, Shared, Slots};

/// How long a handler may keep running after its lease is lost.
const GRACE: Duration = Duration::from_secs(5);

/// Starts an attempt. The `record` loop receives its result.
pub(crate) fn start(shared: &Arc<Shared>, step: ClaimedStep, slot: Slots) {
    shared.metrics.started(step.waited_seconds.unwrap_or(0.0));
    let cancelled = shared.running.add(step.step_ref());
    tokio::spawn(run(Arc::clone(shared), step, slot, cancelled));
}

async fn run(shared: Arc<Shared>, claimed: ClaimedStep, slot: Slots, cancelled: CancellationToken) {
    let step = claimed.step_ref();
    let outcome = attempt(&shared, claimed, &cancelled).await;
    // Parts of the handler that still run, such as a blocking closure, can see that the attempt has ended.
    cancelled.cancel();
    if let Some(outcome) = outcome {
        // Fails only if the worker has stopped.
        let _ = shared.finished.send(Finished { result: StepResult { step, outcome }, slot });
    } else {
        shared.running.remove(&step);
        shared.metrics.attempt_ended(&step.namespace, Ended::Lost);
    }
}

/// Runs the handler. Returns none if the result is no longer wanted.
async fn attempt(shared: &Shared, step: ClaimedStep, cancelled: &CancellationToken) -> Option<StepOutcome> {
    let Some(handler) = shared.handlers.get(&step.callable) else {
        return Some(outcome::of_no_handler(&step.callable, &shared.handlers));
    };
    let span = tracing::info_span!("step", task = %step.task_id, step = step.step_name, attempt = step.attempt);
    let timeout_seconds = step.timeout_seconds;
    let context = StepContext::cancelled_by(step, cancelled.clone());
    let deadline = context.deadline();
    // The handler runs as a task of its own: a panic ends only that task, and a blocking handler does not block this
    // one.
    let mut handler = AbortOnDropHandle::new(tokio::spawn(handler.clone().run(context).instrument(span)));
    tokio::select! {
        biased;
        joined = &mut handler => Some(of_joined(joined)),
        () = sleep_until(deadline.into()) => Some(outcome::of_timeout(timeout_seconds)),
        () = shared.release.cancelled() => Some(StepOutcome::Released),
        () = cancelled.cancelled() => {
            tokio::select! {
                _ = &mut handler => {}
                () = sleep(GRACE) => {}
                () = shared.release.cancelled() => {}
            }
            None
        }
    }
}

fn of_joined(joined: Result<HandlerResult, JoinError>) -> StepOutcome {
    match joined.map_err(JoinError::try_into_panic) {
        Ok(result) => outcome::of_result(result),
        Err(Ok(payload)) => outcome::of_panic(&*payload),
        // The handler was aborted because the async runtime is shutting down.
        Err(Err(_)) => StepOutcome::Released,
    }
}
