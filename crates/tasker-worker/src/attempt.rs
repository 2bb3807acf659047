//! One attempt of a step: from the claim to the outcome.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::FutureExt;
use tasker_engine::{ClaimedStep, StepOutcome, StepResult};
use tasker_runtime::telemetry::traceparent;
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
use crate::trace;

/// How long a handler may keep running after its lease is lost.
const GRACE: Duration = Duration::from_secs(5);

/// Starts an attempt. The `record` loop receives its result.
pub(crate) fn start(shared: &Arc<Shared>, step: ClaimedStep, slot: Slots) {
    shared.metrics.started(step.waited_seconds.unwrap_or(0.0));
    let cancelled = shared.running.add(step.step_ref());
    tokio::spawn(run(Arc::clone(shared), step, slot, cancelled));
}

async fn run(shared: Arc<Shared>, mut claimed: ClaimedStep, mut slot: Slots, cancelled: CancellationToken) {
    let step = claimed.step_ref();
    let traced = trace::start(&mut claimed, &shared.worker_id);
    let (context, in_use) = StepContext::of_attempt(claimed, cancelled.clone());
    let outcome = attempt(&shared, context, traced.clone(), &cancelled).await;
    if let Some(traced) = traced {
        // What a handler returns after that is refused.
        trace::end(&traced, outcome.as_ref().filter(|_| !cancelled.is_cancelled()));
    }
    // Parts of the handler that still run, such as a blocking closure, can see that the attempt has ended.
    cancelled.cancel();
    // They also keep the slot, so that handlers that exceed their time limits do not exceed the number of slots.
    let kept = if in_use.is_empty() { None } else { slot.split(1) };
    if let Some(outcome) = outcome {
        // Fails only if the worker has stopped.
        let _ = shared.finished.send(Finished { result: StepResult { step, outcome }, slot });
    } else {
        shared.running.remove(&step);
        shared.metrics.attempt_ended(&step.namespace, Ended::Lost);
    }
    if kept.is_some() {
        // A worker that drains starts no more steps and does not wait for these handlers.
        shared.draining.run_until_cancelled(in_use.wait_until_empty()).await;
    }
}

/// Runs the handler, in its place in a trace. Returns none if the result is no longer wanted.
async fn attempt(
    shared: &Shared,
    step: StepContext,
    traced: Option<Context>,
    cancelled: &CancellationToken,
) -> Option<StepOutcome> {
    let Some(handler) = shared.handlers.get(step.callable()) else {
        return Some(outcome::of_no_handler(step.callable(), &shared.handlers));
    };
    let span = tracing::info_span!("step", task = %step.task_id(), step = step.step_name(), attempt = step.attempt(),
        trace_id = tracing::field::Empty);
    if let Some(place) = step.traceparent().and_then(traceparent::parse) {
        span.record("trace_id", tracing::field::display(place.trace_id()));
    }
    let (deadline, timeout_seconds) = (step.deadline(), step.timeout_seconds());
    // The handler runs as a task of its own: a panic ends only that task, and a blocking handler does not block this
    // one.
    let running = handler.clone().run(step);
    let mut handler = AbortOnDropHandle::new(match traced {
        Some(traced) => tokio::spawn(running.with_context(traced).instrument(span)),
        None => tokio::spawn(running.instrument(span)),
    });
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
