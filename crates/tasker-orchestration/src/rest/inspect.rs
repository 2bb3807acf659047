//! A closer look at the steps of a task: attempts, and why a step waits.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use tasker_api::{AttemptList, ListOfTask, Problem, StepInspection, StepState, WaitReason, Waiting};
use tasker_engine::{GateWait, GroupFacts, QueueFacts, StepFacts, StepWait};
use uuid::Uuid;

use super::access::Principal;
use super::conditions::{cursor, optional_page_size};
use super::error::ApiError;
use super::extract::{InPath, QueryString, TaskId};
use super::tasks::{StepInPath, no_such_step, no_such_task, require_visible};
use super::{state, tasks};
use crate::services::stats::COUNT_LIMIT;

/// How many seconds a step may be ready while a worker has a free slot. Workers take steps within milliseconds.
const STALLED_AFTER: i64 = 15;
/// How many names a sentence lists.
const NAMES: u8 = 5;

/// What is known about a step that waits.
struct Known {
    step: StepFacts,
    /// Read only for a step that is enqueued, waits for a retry, is waiting, or was lost with its worker.
    queue: QueueFacts,
    gate: Option<GateWait>,
    wait: Option<StepWait>,
    group: Option<GroupFacts>,
    /// The task that is blocked by failures, of those for which the step waits.
    blocked: Option<Uuid>,
    now: DateTime<Utc>,
}

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
    let waiting = known(&state, task_id, &step.name).await?.map(|known| explain(&known)).unwrap_or_default();
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

/// Reads what is known about a step. None if there is no such step.
async fn known(state: &state::State, task_id: Uuid, name: &str) -> sqlx::Result<Option<Known>> {
    let engine = &state.engine;
    let Some(step) = engine.explain_step(task_id, name, COUNT_LIMIT).await? else { return Ok(None) };
    let group = match step.state {
        StepState::Pending => engine.explain_group(task_id, name, COUNT_LIMIT, u32::from(NAMES)).await?,
        _ => None,
    };
    let wait = match step.state {
        StepState::Waiting => engine.explain_wait(task_id, name).await?,
        _ => None,
    };
    let blocked = match &wait {
        Some(StepWait { child: Some((child, _)), .. }) => engine.blocked_below(*child).await?,
        _ => None,
    };
    let queue = engine.explain_queue(task_id, name, COUNT_LIMIT);
    let queue = match step.state {
        StepState::Enqueued | StepState::WaitingForRetry | StepState::Waiting => queue.await?.unwrap_or_default(),
        StepState::InProgress if !step.holder_lives => queue.await?.unwrap_or_default(),
        _ => QueueFacts::default(),
    };
    let gate = engine.explain_gate(task_id, name, COUNT_LIMIT).await?;
    Ok(Some(Known { step, queue, gate, wait, group, blocked, now: Utc::now() }))
}

/// The reasons why a step waits. None for a step that has a result or whose task has ended.
fn explain(known: &Known) -> Vec<Waiting> {
    let facts = &known.step;
    if facts.task_state.is_final() {
        return Vec::new();
    }
    let mut reasons = match (&known.gate, facts.state) {
        // Without workers, a free slot changes nothing.
        (Some(gate), _) => [at_gate(gate)].into_iter().chain(missing_workers(facts)).collect(),
        (None, StepState::Pending) => of_pending(facts, known.group.as_ref()),
        (None, StepState::Enqueued) => of_enqueued(known),
        (None, StepState::InProgress) if facts.holder_lives => vec![of_running(facts)],
        (None, StepState::InProgress) => of_lost(known),
        (None, StepState::WaitingForRetry) => of_backoff(known),
        (None, StepState::Failed) => vec![reason(
            WaitReason::NeedsOperator,
            "The step has failed. An operator can retry it, resolve it with a result, or end the task.",
        )],
        (None, StepState::Waiting) => {
            let waiting = of_waiting(known);
            // A worker ends a wait for a time.
            let late = if known.is_due() { obstacles(known) } else { Vec::new() };
            [waiting].into_iter().chain(late).collect()
        }
        (None, StepState::Completed | StepState::Cancelled | StepState::ResolvedManually | StepState::Skipped) => {
            Vec::new()
        }
    };
    if known.queue.is_lost == Some(true) {
        reasons = vec![reason(
            WaitReason::MessageLost,
            "Its message is not in the queue any more, so no worker finds the step. Somebody has deleted it. \
             Resolve the step with a result, or run the task again from this step (`tasker-cli task fork`).",
        )];
    }
    if let Some(paused_at) = known.queue.paused_at {
        reasons.retain(|other| other.reason != WaitReason::Queue);
        reasons.insert(0, paused(&facts.namespace, paused_at));
    }
    reasons
}

/// The namespace of the step is paused.
fn paused(namespace: &str, since: DateTime<Utc>) -> Waiting {
    let since = since.format("%Y-%m-%d %H:%M:%S");
    let message = format!(
        "Namespace {namespace} is paused since {since} UTC, and none of its steps start. Resume it \
         (`tasker-cli namespace resume`)."
    );
    reason(WaitReason::Paused, message)
}

fn reason(reason: WaitReason, message: impl Into<String>) -> Waiting {
    Waiting {
        reason,
        message: message.into(),
        steps: Vec::new(),
        until: None,
        workers: Vec::new(),
        count: None,
        task: None,
        signal: None,
    }
}

fn of_pending(facts: &StepFacts, group: Option<&GroupFacts>) -> Vec<Waiting> {
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
    if let (true, Some(group)) = (reasons.is_empty(), group) {
        reasons.push(in_group(group));
    }
    reasons
}

/// The step waits for its children, or for other children of its group.
fn in_group(group: &GroupFacts) -> Waiting {
    let failed = listed(&group.failed);
    let message = match (&group.group_name, group.failed.is_empty()) {
        (None, true) => format!("It waits for {} to end.", children(group.children)),
        (None, false) => {
            let others =
                if group.children > 0 { format!(", and {} to end", children(group.children)) } else { String::new() };
            format!("It waits for an operator to retry or resolve its failed children ({failed}){others}.")
        }
        (Some(name), _) if group.is_held => {
            format!("No child of {name} starts until an operator has retried or resolved those that failed ({failed}).")
        }
        (Some(name), _) => match group.parallelism {
            Some(most) => format!("It waits for another child of {name} to end. At most {most} of them run at once."),
            None => format!("It waits for another child of {name} to end."),
        },
    };
    Waiting { steps: group.failed.clone(), ..reason(WaitReason::Children, message) }
}

fn children(count: i64) -> String {
    match count {
        1 => "one child".to_owned(),
        count if count >= i64::from(COUNT_LIMIT) => format!("{} or more children", COUNT_LIMIT - 1),
        count => format!("{count} children"),
    }
}

impl Known {
    /// Until when the step waits, or its lease lasts, if that is to come.
    fn until(&self) -> Option<DateTime<Utc>> {
        self.step.due_at.filter(|due_at| *due_at > self.now)
    }

    /// Whether the time until which the step waits, or its lease, has ended.
    fn is_due(&self) -> bool {
        self.step.due_at.is_some() && self.until().is_none()
    }
}

/// What keeps workers from taking the step as soon as it is time.
fn obstacles(known: &Known) -> Vec<Waiting> {
    let facts = &known.step;
    let mut reasons: Vec<_> = missing_workers(facts).into_iter().collect();
    let stalled = known.queue.ready_since.map(|since| (known.now - since).num_seconds());
    if let Some(seconds) = stalled.filter(|seconds| *seconds >= STALLED_AFTER && !facts.free.is_empty()) {
        let message = format!(
            "No worker has taken it for {seconds} s, although {} has a free slot. Read the log of the worker, and look \
             in PostgreSQL for sessions that hold locks (pg_stat_activity).",
            listed(&facts.free)
        );
        reasons.push(Waiting { workers: facts.free.clone(), ..reason(WaitReason::Stalled, message) });
    }
    if reasons.is_empty() && facts.free.is_empty() {
        reasons.push(Waiting {
            workers: facts.able.clone(),
            ..reason(WaitReason::WorkersFull, "Every worker with its handler runs as many steps as it can.")
        });
    }
    reasons
}

fn of_enqueued(known: &Known) -> Vec<Waiting> {
    let facts = &known.step;
    let mut reasons = obstacles(known);
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
        (Some(_), Some(0)) => {
            format!("It waits for gate {name}{key}, which an operator has closed. A limit above 0 opens it.")
        }
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
        let message = format!("No live worker serves namespace {namespace}. Start one.");
        return Some(reason(WaitReason::NoWorker, message));
    }
    facts.able.is_empty().then(|| Waiting {
        workers: workers.clone(),
        ..reason(
            WaitReason::NoHandler,
            format!(
                "No live worker of namespace {namespace} has a handler for {callable}. Start a worker that has it."
            ),
        )
    })
}

/// The step waits for a time, a signal or another task.
fn of_waiting(known: &Known) -> Waiting {
    let mut waiting = Waiting { until: known.until(), ..reason(WaitReason::Waiting, "It waits for a time.") };
    match &known.wait {
        Some(StepWait { child: Some((child, state)), .. }) => {
            waiting.message = format!("It waits for the end of the child task {child}, which is {state}.");
            waiting.task = Some(known.blocked.unwrap_or(*child));
            match known.blocked {
                Some(blocked) if blocked == *child => {
                    waiting.message.push_str(" An operator must retry or resolve its failed steps, or end it.");
                }
                Some(blocked) => waiting.message.push_str(&format!(
                    " That waits for task {blocked}, which is blocked_by_failures. An operator must retry or resolve \
                     its failed steps, or end it."
                )),
                None => {}
            }
        }
        Some(StepWait { signal: Some(signal), .. }) => {
            waiting.message = format!("It waits for the signal {signal}.");
            waiting.signal = Some(signal.clone());
        }
        _ => {}
    }
    waiting
}

/// An attempt of the step has failed.
fn of_backoff(known: &Known) -> Vec<Waiting> {
    let (message, others) = if known.is_due() {
        (
            "An attempt failed, and the backoff delay is over. The next one starts when a worker takes it.",
            obstacles(known),
        )
    } else {
        // Without a worker, the end of the delay changes nothing.
        let others = missing_workers(&known.step).into_iter().collect();
        ("An attempt failed. The next one starts after the backoff delay.", others)
    };
    let backoff = Waiting { until: known.until(), ..reason(WaitReason::Backoff, message) };
    [backoff].into_iter().chain(others).collect()
}

fn of_running(facts: &StepFacts) -> Waiting {
    let message = format!("Worker {} runs it. Its lease is extended while the worker lives.", holder(facts));
    Waiting { workers: facts.worker_id.iter().cloned().collect(), ..reason(WaitReason::Running, message) }
}

/// The worker that runs the step sends no heartbeats.
fn of_lost(known: &Known) -> Vec<Waiting> {
    let facts = &known.step;
    let (end, others) = if known.is_due() {
        ("Its lease has ended, so the step starts again as soon as another worker takes it", obstacles(known))
    } else {
        // Without another worker, the end of the lease changes nothing.
        let others = missing_workers(facts).into_iter().collect();
        ("The step starts again on another worker when its lease ends", others)
    };
    let message = format!("Worker {} sends no heartbeats. {end}.", holder(facts));
    let workers = facts.worker_id.iter().cloned().collect();
    let lost = Waiting { until: known.until(), workers, ..reason(WaitReason::WorkerLost, message) };
    [lost].into_iter().chain(others).collect()
}

fn holder(facts: &StepFacts) -> &str {
    facts.worker_id.as_deref().unwrap_or("unknown")
}

/// The first names of a list.
fn listed(names: &[String]) -> String {
    let shown = usize::from(NAMES);
    match names.len().checked_sub(shown).filter(|more| *more > 0) {
        None => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..shown].join(", ")),
    }
}
