//! The model: the life of tasks and steps as described in `functions/01_overview.sql`, in plain Rust, one action after
//! another.
//!
//! The model does not contain the queue. It receives the steps whose messages a claim has read, and returns the steps
//! that must be claimed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use serde_json::{Map, Value};
use tasker_api::{StepState, TaskState};
use tasker_engine::{
    ClaimedStep, CreateOutcome, NewTask, Operation, OperationOutcome, StepOutcome, StepRef, StepResult,
};
use tasker_template::Backoff;
use uuid::Uuid;

use crate::facts::{Facts, StepFacts, StepId, TaskFacts, Time};
use crate::graphs::{Graph, StepPolicy, step_name};

#[derive(Debug)]
struct Task {
    /// The index of its template, which is also the index of its namespace.
    template: usize,
    facts: TaskFacts,
    steps: Vec<StepFacts>,
}

/// The expected content of the database, except tokens and delays, which the database draws at random.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) now: Time,
    /// One template for each namespace, with its id in the database.
    templates: Vec<(i64, Graph)>,
    tasks: BTreeMap<Uuid, Task>,
    keys: BTreeMap<(usize, String), (Uuid, Vec<u8>)>,
    /// Steps that have just failed and wait for a retry, with the longest allowed delay.
    drawn_delays: BTreeMap<StepId, TimeDelta>,
}

/// The expected content of a claimed step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claim {
    pub(crate) attempt: i16,
    pub(crate) max_attempts: i16,
    pub(crate) dependency_results: Value,
}

impl From<&ClaimedStep> for Claim {
    fn from(step: &ClaimedStep) -> Self {
        Self {
            attempt: step.attempt,
            max_attempts: step.max_attempts,
            dependency_results: step.dependency_results.clone(),
        }
    }
}

pub(crate) type Claims = BTreeMap<StepId, Claim>;

impl Model {
    pub(crate) fn new(now: Time, templates: Vec<(i64, Graph)>) -> Self {
        Self { now, templates, tasks: BTreeMap::new(), keys: BTreeMap::new(), drawn_delays: BTreeMap::new() }
    }

    /// The ids of all tasks, oldest first.
    pub(crate) fn task_ids(&self) -> Vec<Uuid> {
        self.tasks.keys().copied().collect()
    }

    pub(crate) fn facts_of(&self, task: Uuid) -> Option<&TaskFacts> {
        self.tasks.get(&task).map(|task| &task.facts)
    }

    pub(crate) fn namespace_of(&self, task: Uuid) -> Option<usize> {
        self.tasks.get(&task).map(|task| task.template)
    }

    pub(crate) fn create(&mut self, requests: &[NewTask]) -> Vec<CreateOutcome> {
        let outcome = |model: &mut Self, request: &NewTask| {
            let Some(template) = model.templates.iter().position(|(id, _)| *id == request.template_id) else {
                return CreateOutcome::Outdated;
            };
            if let Some((key, hash)) = &request.idempotency {
                let key = (template, key.clone());
                if let Some((task, first)) = model.keys.get(&key) {
                    return if first == hash { CreateOutcome::Existing(*task) } else { CreateOutcome::Conflict(*task) };
                }
                model.keys.insert(key, (request.task_id, hash.clone()));
            }
            let task = Task::new(template, &model.templates[template].1);
            model.tasks.insert(request.task_id, task);
            CreateOutcome::Created(model.now)
        };
        requests.iter().map(|request| outcome(self, request)).collect()
    }

    /// Returns the steps that a claim must return after it has read messages of these steps.
    pub(crate) fn claim(&mut self, read: &BTreeSet<StepId>, lease: TimeDelta) -> Claims {
        let now = self.now;
        let mut claims = Claims::new();
        for id in read {
            let Some((task, policies)) = self.task_mut(id.0) else { continue };
            let Some(number) = index_of(*id, &task.steps) else { continue };
            let step = &mut task.steps[number];
            let is_due = step.due_at.is_none_or(|due| due <= now);
            if !step.is_active() || !is_due {
                continue;
            }
            if step.state == StepState::InProgress && step.attempts >= policies[number].max_attempts {
                step.end(StepState::Failed, now);
                step.has_error = true;
                task.settle(now);
                continue;
            }
            step.start(now, lease);
            if task.facts.state == TaskState::Pending {
                task.facts.state = TaskState::InProgress;
                task.facts.started_at = Some(now);
            }
            claims.insert(*id, task.claim_of(number, &policies[number]));
        }
        claims
    }

    /// Returns the effect of a batch of results: the refused steps, and the steps that are handed to the worker.
    pub(crate) fn complete(
        &mut self,
        results: &[StepResult],
        namespaces: &[usize],
        take: usize,
        lease: TimeDelta,
    ) -> (Vec<StepId>, Claims) {
        let now = self.now;
        let mut accepted: BTreeSet<(StepId, Uuid)> = BTreeSet::new();
        let mut touched = BTreeSet::new();
        let mut ready = BTreeSet::new();
        for StepResult { step: held, outcome } in results {
            let id = (held.task_id, held.step_no);
            let mut delay = None;
            let Some((task, policies)) = self.task_mut(held.task_id) else { continue };
            let Some(number) = index_of(id, &task.steps) else { continue };
            let step = &mut task.steps[number];
            if step.token != Some(held.token) {
                continue;
            }
            let policy = &policies[number];
            match outcome {
                StepOutcome::Completed(result) => {
                    step.end(StepState::Completed, now);
                    step.result = Some(result.clone());
                    step.has_error = false;
                    touched.insert(held.task_id);
                    ready.extend(task.count_down(number, policies).into_iter().map(|ready| (held.task_id, ready)));
                }
                StepOutcome::RetryableError(_) if step.attempts < policy.max_attempts => {
                    let longest = longest_delay(policy, step.attempts);
                    *step = StepFacts {
                        state: StepState::WaitingForRetry,
                        due_at: Some(now + longest),
                        token: None,
                        has_error: true,
                        ..step.clone()
                    };
                    delay = Some(longest);
                }
                StepOutcome::RetryableError(_) | StepOutcome::PermanentError(_) => {
                    step.end(StepState::Failed, now);
                    step.has_error = true;
                    touched.insert(held.task_id);
                }
                StepOutcome::Waiting(_) => unreachable!("no action waits"),
                StepOutcome::Released => {
                    step.state = StepState::Enqueued;
                    (step.due_at, step.token, step.has_error) = (None, None, false);
                    step.attempts -= 1;
                }
            }
            if let Some(delay) = delay {
                self.drawn_delays.insert(id, delay);
            }
            accepted.insert((id, held.token));
        }

        let mut handed = Claims::new();
        for id in ready {
            let Some((task, policies)) = self.task_mut(id.0) else { continue };
            let Some(number) = index_of(id, &task.steps) else { continue };
            if handed.len() < take && namespaces.contains(&task.template) {
                task.steps[number].start(now, lease);
                handed.insert(id, task.claim_of(number, &policies[number]));
            }
        }
        for id in touched {
            if let Some((task, _)) = self.task_mut(id) {
                task.settle(now);
            }
        }
        let mut refused: Vec<StepId> = results
            .iter()
            .map(|result| ((result.step.task_id, result.step.step_no), result.step.token))
            .filter(|result| !accepted.contains(result))
            .map(|(id, _)| id)
            .collect();
        refused.sort_unstable();
        (refused, handed)
    }

    /// Returns the steps whose leases are extended.
    pub(crate) fn extend(&mut self, held: &[StepRef], lease: TimeDelta) -> BTreeSet<StepId> {
        let now = self.now;
        let mut kept = BTreeSet::new();
        for held in held {
            let id = (held.task_id, held.step_no);
            let Some((task, policies)) = self.task_mut(held.task_id) else { continue };
            let Some(number) = index_of(id, &task.steps) else { continue };
            let step = &mut task.steps[number];
            if step.token == Some(held.token) {
                let limit = step.started_at.map(|at| at + TimeDelta::seconds(policies[number].timeout_seconds + 10));
                step.due_at = Some(limit.map_or(now + lease, |limit| limit.min(now + lease)));
                kept.insert(id);
            }
        }
        kept
    }

    /// Returns the outcome of an operator's action.
    pub(crate) fn operate(&mut self, id: Uuid, operation: &Operation) -> OperationOutcome {
        let now = self.now;
        let Some((task, policies)) = self.task_mut(id) else { return OperationOutcome::NotFound };
        let names: Vec<String> = (0..task.steps.len()).map(step_name).collect();
        let number_of = |name: &String| names.iter().position(|known| known == name);
        let wrong_task = OperationOutcome::WrongState(task.facts.state.to_string());
        match operation {
            Operation::Cancel | Operation::Fail => {
                let fail = matches!(operation, Operation::Fail);
                if task.facts.is_final() || fail && task.facts.state != TaskState::BlockedByFailures {
                    return wrong_task;
                }
                for step in &mut task.steps {
                    if step.is_active() || step.state == StepState::Pending {
                        step.end(StepState::Cancelled, now);
                    }
                }
                task.count();
                task.facts.state = if fail { TaskState::Failed } else { TaskState::Cancelled };
                task.facts.completed_at = Some(now);
            }
            Operation::Retry { step } => {
                let (named, wrong) = match step {
                    None => ((0..task.steps.len()).collect(), wrong_task),
                    Some(name) => match number_of(name) {
                        None => return OperationOutcome::NoStep,
                        Some(number) => {
                            (vec![number], OperationOutcome::WrongState(task.steps[number].state.to_string()))
                        }
                    },
                };
                let failed: Vec<usize> =
                    named.into_iter().filter(|number| task.steps[*number].state == StepState::Failed).collect();
                if task.facts.is_final() || failed.is_empty() {
                    return wrong;
                }
                for number in failed {
                    let step = &mut task.steps[number];
                    step.end(StepState::Enqueued, now);
                    (step.attempts, step.completed_at, step.has_error) = (0, None, false);
                }
                task.settle(now);
            }
            Operation::Resolve { step, result } => {
                let Some(number) = number_of(step) else { return OperationOutcome::NoStep };
                let step = &mut task.steps[number];
                if task.facts.is_final() || step.has_result() || step.state == StepState::Cancelled {
                    return OperationOutcome::WrongState(step.state.to_string());
                }
                step.end(StepState::ResolvedManually, now);
                step.result = Some(result.clone());
                step.has_error = false;
                task.count_down(number, policies);
                task.settle(now);
            }
        }
        OperationOutcome::Done
    }

    /// Stores the tokens of claimed steps.
    pub(crate) fn store_tokens(&mut self, claimed: &[ClaimedStep]) {
        for claimed in claimed {
            if let Some((task, _)) = self.task_mut(claimed.task_id)
                && let Some(number) = index_of((claimed.task_id, claimed.step_no), &task.steps)
            {
                task.steps[number].token = Some(claimed.token);
            }
        }
    }

    /// Checks the delays that were drawn for retries and stores them. Then compares all rows with the model.
    pub(crate) fn compare(&mut self, facts: &Facts) -> Result<()> {
        for (id, longest) in std::mem::take(&mut self.drawn_delays) {
            let drawn = facts.steps.get(&id).and_then(|step| step.due_at).context("no due time")? - self.now;
            let (least, most) = (longest * 3 / 4 - TimeDelta::milliseconds(1), longest + TimeDelta::milliseconds(1));
            ensure!(
                (least..=most).contains(&drawn),
                "the delay of {id:?} is {drawn}, expected three quarters of {longest} to {longest}"
            );
            if let Some((task, _)) = self.task_mut(id.0)
                && let Some(number) = index_of(id, &task.steps)
            {
                task.steps[number].due_at = facts.steps.get(&id).and_then(|step| step.due_at);
            }
        }
        ensure!(
            facts.tasks.keys().eq(self.tasks.keys()),
            "the tasks are {:?}, expected {:?}",
            facts.tasks.keys(),
            self.tasks.keys()
        );
        for (id, expected) in &self.tasks {
            let found = &facts.tasks[id];
            ensure!(found == &expected.facts, "task {id} is {found:#?}, expected {:#?}", expected.facts);
            ensure!(facts.steps_of(*id).count() == expected.steps.len(), "task {id} has missing or extra steps");
            for (((_, number), found), expected) in facts.steps_of(*id).zip(&expected.steps) {
                ensure!(found == expected, "step {number} of {id} is {found:#?}, expected {expected:#?}");
            }
        }
        Ok(())
    }

    fn task_mut(&mut self, id: Uuid) -> Option<(&mut Task, &Graph)> {
        let task = self.tasks.get_mut(&id)?;
        let graph = &self.templates[task.template].1;
        Some((task, graph))
    }
}

impl Task {
    fn new(template: usize, graph: &Graph) -> Self {
        let steps: Vec<StepFacts> = graph
            .iter()
            .map(|policy| StepFacts {
                state: if policy.dependencies.is_empty() { StepState::Enqueued } else { StepState::Pending },
                pending_dependencies: count(policy.dependencies.iter()),
                attempts: 0,
                due_at: None,
                started_at: None,
                completed_at: None,
                token: None,
                result: None,
                has_error: false,
            })
            .collect();
        let facts = TaskFacts {
            state: TaskState::Pending,
            total_steps: count(steps.iter()),
            completed_steps: 0,
            failed_steps: 0,
            active_steps: 0,
            started_at: None,
            completed_at: None,
        };
        let mut task = Self { template, facts, steps };
        task.count();
        task
    }

    fn count(&mut self) {
        let facts = &mut self.facts;
        facts.completed_steps = count(self.steps.iter().filter(|step| step.has_result()));
        facts.failed_steps = count(self.steps.iter().filter(|step| step.state == StepState::Failed));
        facts.active_steps = count(self.steps.iter().filter(|step| step.is_active()));
    }

    /// Updates the counters, and sets the task's state accordingly.
    fn settle(&mut self, now: Time) {
        self.count();
        let facts = &mut self.facts;
        facts.started_at = facts.started_at.or(Some(now));
        if facts.completed_steps == facts.total_steps {
            facts.state = TaskState::Completed;
            facts.completed_at = Some(now);
        } else if facts.active_steps == 0 && facts.failed_steps > 0 {
            facts.state = TaskState::BlockedByFailures;
        } else {
            facts.state = TaskState::InProgress;
        }
    }

    /// Counts down the dependents of a step that has a result. Returns the steps that become ready.
    fn count_down(&mut self, done: usize, graph: &Graph) -> Vec<i16> {
        let mut ready = Vec::new();
        for ((number, step), policy) in (0..).zip(&mut self.steps).zip(graph) {
            if step.state == StepState::Pending && policy.dependencies.contains(&done) {
                step.pending_dependencies -= 1;
                if step.pending_dependencies == 0 {
                    step.state = StepState::Enqueued;
                    ready.push(number);
                }
            }
        }
        ready
    }

    fn claim_of(&self, number: usize, policy: &StepPolicy) -> Claim {
        let result =
            |dependency: &usize| (step_name(*dependency), self.steps[*dependency].result.clone().unwrap_or_default());
        Claim {
            attempt: self.steps[number].attempts,
            max_attempts: policy.max_attempts,
            dependency_results: Value::Object(policy.dependencies.iter().map(result).collect::<Map<_, _>>()),
        }
    }
}

impl StepFacts {
    fn start(&mut self, now: Time, lease: TimeDelta) {
        self.state = StepState::InProgress;
        self.attempts += 1;
        self.started_at = Some(now);
        self.due_at = Some(now + lease);
    }

    fn end(&mut self, state: StepState, now: Time) {
        self.state = state;
        self.completed_at = Some(now);
        (self.due_at, self.token) = (None, None);
    }
}

/// The delay after an attempt has failed, before up to a quarter of it is subtracted at random.
fn longest_delay(policy: &StepPolicy, attempt: i16) -> TimeDelta {
    let factor = match policy.backoff {
        Backoff::Exponential => 1 << (attempt - 1),
        Backoff::Linear => i64::from(attempt),
        Backoff::Fixed => 1,
    };
    TimeDelta::milliseconds((policy.base_ms * factor).min(policy.max_backoff_ms))
}

fn index_of(id: StepId, steps: &[StepFacts]) -> Option<usize> {
    usize::try_from(id.1).ok().filter(|number| *number < steps.len())
}

fn count<T>(items: impl Iterator<Item = T>) -> i16 {
    i16::try_from(items.count()).unwrap_or(i16::MAX)
}
