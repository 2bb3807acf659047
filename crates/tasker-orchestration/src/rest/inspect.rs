//! A closer look at the steps of a task: attempts, and why a step waits.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use tasker_api::{AttemptList, ListOfTask, Problem, StepInspection, StepState, WaitReason, Waiting};
use tasker_engine::{GateWait, StepFacts, StepWait};

use super::access::Principal;
use super::conditions::{cursor, optional_page_size};
use super::error::ApiError;
use super::extract::{InPath, QueryString, TaskId};
use super::tasks::{StepInPath, no_such_step, no_such_task, require_visible};
use super::{state, tasks};
use crate::services::stats::COUNT_LIMIT;

/// Shows a step, and why it waits.
#[utoipa::path(get, path = "/v1/tasks/{task_uuid}/steps/{name}",
    params(("task_uuid" = Uuid, Path), ("name" = String, Path)),
    responses((status = 200, body = StepInspection), (status = 404, body = Problem)))]
pub(super) async fn step(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    InPath(step): InPath<StepInPath>,
) -> Result<Json<StepInspection>, ApiError> {
    require_visible(&state, &principal, task_id).await?;
    let steps = state.engine.list_steps(task_id, true, Some(&step.name)).await?;
    let found = steps.ok_or_else(|| no_such_task(task_id))?.pop().ok_or_else(|| no_such_step(task_id))?;
    let facts = state.engine.explain_step(task_id, &step.name, COUNT_LIMIT).await?;
    let gate = state.engine.explain_gate(task_id, &step.name, COUNT_LIMIT).await?;
    let wait = match &facts {
        Some(facts) if facts.state == StepState::Waiting => state.engine.explain_wait(task_id, &step.name).await?,
        _ => None,
    };
    let waiting = facts.map(|facts| explain(&facts, gate.as_ref(), wait.as_ref())).unwrap_or_default();
    Ok(Json(StepInspection { step: found, waiting }))
}

/// Lists the attempts of a task's steps, the oldest first.
#[utoipa::path(get, path = "/v1/tasks/{task_uuid}/attempts", params(("task_uuid" = Uuid, Path), ListOfTask),
    responses((status = 200, body = AttemptList), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn attempts(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    QueryString(query): QueryString<ListOfTask>,
) -> Result<Json<AttemptList>, ApiError> {
    tasks::summary_visible_to(&state, &principal, task_id).await?;
    let limit = optional_page_size(query.limit)?;
    let after = cursor(query.cursor.as_deref())?.unwrap_or(0);
    let more = limit.map(|limit| limit.saturating_add(1));
    let mut found = state.engine.list_attempts(task_id, query.step.as_deref(), after, more).await?;
    let next_cursor = super::last_of_page(&mut found, limit).map(|(number, _)| number.to_string());
    Ok(Json(AttemptList { attempts: found.into_iter().map(|(_, attempt)| attempt).collect(), next_cursor }))
}

/// The reasons why a step waits. None for a step that has a result or whose task has ended.
fn explain(facts: &StepFacts, gate: Option<&GateWait>, wait: Option<&StepWait>) -> Vec<Waiting> {
    if facts.task_state.is_final() {
        return Vec::new();
    }
    if let Some(gate) = gate {
        // Without workers, a free slot changes nothing.
        return [at_gate(gate)].into_iter().chain(missing_workers(facts)).collect();
    }
    match facts.state {
        StepState::Pending => of_pending(facts),
        StepState::Enqueued => of_enqueued(facts),
        StepState::InProgress => vec![of_running(facts)],
        StepState::WaitingForRetry => {
            let mut reasons = vec![Waiting {
                until: facts.due_at,
                ..reason(WaitReason::Backoff, "An attempt failed. The next one starts after the backoff delay.")
            }];
            // Without these, the end of the delay changes nothing.
            reasons.extend(missing_workers(facts));
            reasons
        }
        StepState::Failed => vec![reason(
            WaitReason::NeedsOperator,
            "The step has failed. An operator can retry it, resolve it with a result, or end the task.",
        )],
        StepState::Waiting => vec![of_waiting(facts, wait)],
        StepState::Completed | StepState::Cancelled | StepState::ResolvedManually | StepState::Skipped => Vec::new(),
    }
}

fn reason(reason: WaitReason, message: impl Into<String>) -> Waiting {
    Waiting { reason, message: message.into(), steps: Vec::new(), until: None, workers: Vec::new(), count: None }
}

fn of_pending(facts: &StepFacts) -> Vec<Waiting> {
    let names = |failed: bool| {
        let steps = facts.missing.iter().filter(|(_, state)| (*state == StepState::Failed) == failed);
        steps.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let (failed, open) = (names(true), names(false));
    let mut reasons = Vec::new();
    if !failed.is_empty() {
        let message = format!("It depends on a step that has failed: {}.", listed(&failed));
        reasons.push(Waiting { steps: failed, ..reason(WaitReason::BlockedDependency, message) });
    }
    if !open.is_empty() {
        let count = i64::try_from(open.len()).ok();
        let message = format!("It waits for the results of {}.", listed(&open));
        reasons.push(Waiting { steps: open, count, ..reason(WaitReason::Dependencies, message) });
    }
    if reasons.is_empty() {
        let message = "It waits for its children or, if it is a child, for another child of its group to end.";
        reasons.push(reason(WaitReason::Children, message));
    }
    reasons
}

fn of_enqueued(facts: &StepFacts) -> Vec<Waiting> {
    let mut reasons: Vec<_> = missing_workers(facts).into_iter().collect();
    if reasons.is_empty() && facts.free.is_empty() {
        reasons.push(Waiting {
            workers: facts.able.clone(),
            ..reason(WaitReason::WorkersFull, "Every worker with its handler runs as many steps as it can.")
        });
    }
    let ahead = facts.ahead.unwrap_or(0);
    if ahead > 0 || reasons.is_empty() {
        let message = match ahead {
            0 => "It is next in the queue.".to_owned(),
            ahead if ahead >= i64::from(COUNT_LIMIT) => format!("{ahead} or more steps are before it in the queue."),
            1 => "One step is before it in the queue.".to_owned(),
            ahead => format!("{ahead} steps are before it in the queue."),
        };
        reasons.push(Waiting { count: Some(ahead), ..reason(WaitReason::Queue, message) });
    }
    reasons
}

/// The step waits for a slot of a gate, or for its rate.
fn at_gate(wait: &GateWait) -> Waiting {
    let key = wait.key.as_ref().map_or_else(String::new, |key| format!(", key {key}"));
    let name = &wait.gate;
    let message = match (wait.place, wait.capacity) {
        (None, _) => format!("It waits for the rate of gate {name}{key}."),
        (Some(_), Some(0)) => format!("It waits for gate {name}{key}, which an operator has closed."),
        (Some(place), capacity) => format!(
            "It waits for gate {name}{key}, position {place}. {} of {} slots are in use.",
            wait.holds.unwrap_or(0),
            capacity.unwrap_or(0)
        ),
    };
    Waiting { until: wait.starts_at, count: wait.place.map(|place| place - 1), ..reason(WaitReason::Gate, message) }
}

/// No worker could run the step.
fn missing_workers(facts: &StepFacts) -> Option<Waiting> {
    let StepFacts { namespace, callable, workers, .. } = facts;
    if workers.is_empty() {
        let message = format!("No live worker serves namespace {namespace}.");
        return Some(reason(WaitReason::NoWorker, message));
    }
    facts.able.is_empty().then(|| Waiting {
        workers: workers.clone(),
        ..reason(
            WaitReason::NoHandler,
            format!("No live worker of namespace {namespace} has a handler for {callable}."),
        )
    })
}

/// The step waits for a time, a signal or another task.
fn of_waiting(facts: &StepFacts, wait: Option<&StepWait>) -> Waiting {
    let message = match wait {
        Some(StepWait { child: Some((child, state)), .. }) => {
            format!("It waits for the end of the child task {child}, which is {state}.")
        }
        Some(StepWait { signal: Some(signal), .. }) => format!("It waits for the signal {signal}."),
        _ => "It waits for a time.".to_owned(),
    };
    Waiting { until: facts.due_at, ..reason(WaitReason::Waiting, message) }
}

fn of_running(facts: &StepFacts) -> Waiting {
    let worker = facts.worker_id.as_deref().unwrap_or("unknown");
    let (kind, message) = if facts.holder_lives {
        (WaitReason::Running, format!("Worker {worker} runs it. Its lease is extended while the worker lives."))
    } else {
        let message = format!(
            "Worker {worker} sends no heartbeats. The step starts again on another worker when its lease ends."
        );
        (WaitReason::WorkerLost, message)
    };
    Waiting { until: facts.due_at, workers: facts.worker_id.iter().cloned().collect(), ..reason(kind, message) }
}

/// The first names of a list.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        None => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
