//! One attempt of a step: from the claim to the outcome.

use std::sync::Arc;
use std::time::Duration;

use tasker_engine::{ClaimedStep, StepOutcome, StepResult};
use tokio::task::JoinError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::context::StepContext;
use crate::error::HandlerResult;
use crate::outcome;
use crate::shared::{Finished, Shared, Slots};

/// How long a handler may go on after its lease was lost.
const GRACE: Duration = Duration::from_secs(5);

/// Starts an attempt. Its result goes to the loop that records.
pub(crate) fn start(shared: &Arc<Shared>, step: ClaimedStep, slot: Slots) {
    let cancelled = shared.running.add(step.step_ref());
    tokio::spawn(run(Arc::clone(shared), step, slot, cancelled));
}

async fn run(shared: Arc<Shared>, claimed: ClaimedStep, slot: Slots, cancelled: CancellationToken) {
    let step = claimed.step_ref();
    let outcome = attempt(&shared, claimed, &cancelled).await;
    // What is left of it, such as a blocking part, can see that it is over.
    cancelled.cancel();
    if let Some(outcome) = outcome {
        // Fails only when the worker is gone.
        let _ = shared.finished.send(Finished { result: StepResult { step, outcome }, slot });
    } else {
        shared.running.remove(&step);
        shared.metrics.attempt_ended(&step.namespace, "lost");
    }
}

/// Runs the handler; none if nobody wants the result any more.
async fn attempt(shared: &Shared, step: ClaimedStep, cancelled: &CancellationToken) -> Option<StepOutcome> {
    let Some(handler) = shared.handlers.get(&step.callable) else {
        return Some(outcome::of_no_handler(&step.callable, &shared.handlers));
    };
    let limit = Duration::from_secs(u64::try_from(step.timeout_seconds).unwrap_or_default());
    let span = tracing::info_span!("step", task = %step.task_id, step = step.step_name, attempt = step.attempt);
    let context = StepContext::cancelled_by(step, cancelled.clone());
    // A task of its own: a panic ends only the task, and a handler that blocks its thread does not block this one.
    let mut handler = AbortOnDropHandle::new(tokio::spawn(handler.clone().run(context).instrument(span)));
    tokio::select! {
        biased;
        joined = &mut handler => Some(of_joined(joined)),
        () = sleep(limit) => Some(outcome::of_timeout(limit)),
        () = shared.hand_back.cancelled() => Some(StepOutcome::Released),
        () = cancelled.cancelled() => {
            tokio::select! {
                _ = &mut handler => {}
                () = sleep(GRACE) => {}
                () = shared.hand_back.cancelled() => {}
            }
            None
        }
    }
}

fn of_joined(joined: Result<HandlerResult, JoinError>) -> StepOutcome {
    match joined.map_err(JoinError::try_into_panic) {
        Ok(result) => outcome::of_result(result),
        Err(Ok(payload)) => outcome::of_panic(&*payload),
        // Aborted: the async runtime is ending.
        Err(Err(_)) => StepOutcome::Released,
    }
}
