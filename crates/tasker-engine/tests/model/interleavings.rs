//! Random interleavings: one action after another, with a clock that stands still until the test advances it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, TimeZone, Utc};
use serde_json::json;
use sqlx::PgPool;
use tasker_engine::{ClaimedStep, Engine, NewTask, Operation, OperationOutcome, StepOutcome, StepRef, StepResult};
use uuid::Uuid;

use crate::actions::{Action, Case, Operate, Outcome, Request, case};
use crate::cases::replay_cases;
use crate::facts::{self, Facts, StepId};
use crate::graphs::{self, NAMESPACES, step_name};
use crate::history::History;
use crate::invariants;
use crate::model::{Claim, Claims, Model};
use crate::ways;

const LEASE: Duration = Duration::from_secs(30);
const LEASE_DELTA: TimeDelta = TimeDelta::seconds(30);
const WORKER: &str = "worker";
/// The number of cases, unless `PROPTEST_CASES` is set.
const CASES: u32 = 50;
/// As [`CASES`], where every call is made three times.
const CASES_BOTH_WAYS: u32 = 15;

#[test]
fn the_engine_matches_the_model() -> Result<()> {
    replay_cases(CASES, case(), async |pool, name, case| replay(pool, name, case, false).await)
}

#[test]
fn the_short_way_does_the_same_as_the_sets() -> Result<()> {
    replay_cases(CASES_BOTH_WAYS, case(), async |pool, name, case| replay(pool, name, case, true).await)
}

/// Replays a case. Then brings every task to a final state. `both_ways` says whether each creation, claim and completion
/// is also made both ways and compared.
async fn replay(pool: &PgPool, template: &str, case: &Case, both_ways: bool) -> Result<()> {
    let mut replay = Replay::new(pool, template, case, both_ways).await?;
    for (number, action) in case.actions.iter().enumerate() {
        replay.act(action).await.with_context(|| format!("action {number}, {action:?}"))?;
        replay.check().await.with_context(|| format!("after action {number}, {action:?}"))?;
    }
    replay.finish_all().await.context("finishing all tasks")
}

struct Replay {
    engine: Engine,
    model: Model,
    history: History,
    template_ids: Vec<i64>,
    /// All claimed steps so far, in the order of the claims.
    claims: Vec<StepRef>,
    results: u32,
    template: String,
    /// Whether each creation, claim and completion is also made both ways and compared.
    both_ways: bool,
}

impl Replay {
    async fn new(pool: &PgPool, template: &str, case: &Case, both_ways: bool) -> Result<Self> {
        let engine = Engine::new(pool.clone());
        let mut templates = Vec::new();
        for (namespace, graph) in NAMESPACES.iter().zip(&case.graphs) {
            templates.push((graphs::apply(&engine, namespace, template, graph).await?, graph.clone()));
        }
        // A failed case may have left messages.
        sqlx::raw_sql("delete from pgmq.q_model_a; delete from pgmq.q_model_b").execute(pool).await?;
        let now = Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).single().context("the time is invalid")?;
        let mut replay = Self {
            template_ids: templates.iter().map(|(id, _)| *id).collect(),
            engine,
            model: Model::new(now, templates),
            history: History::default(),
            claims: Vec::new(),
            results: 0,
            template: template.to_owned(),
            both_ways,
        };
        replay.advance_clock(0).await?;
        Ok(replay)
    }

    async fn act(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Create(requests) => self.create(requests).await,
            Action::Claim { namespaces, limit } => self.claim(namespaces, *limit).await.map(drop),
            Action::Complete { claims, namespaces, take } => {
                let mut results = Vec::new();
                for (claim, outcome) in claims {
                    if let Some(step) = self.claimed(*claim) {
                        let outcome = self.outcome(*outcome);
                        results.push(StepResult { step, outcome });
                    }
                }
                self.complete(&results, namespaces, *take).await
            }
            Action::Extend { claims } => {
                let held: Vec<StepRef> = claims.iter().filter_map(|claim| self.claimed(*claim)).collect();
                let extended: BTreeSet<StepId> = self.engine.extend_leases(LEASE, &held).await?.into_iter().collect();
                let expected = self.model.extend(&held, LEASE_DELTA);
                ensure!(extended == expected, "extended {extended:?}, expected {expected:?}");
                Ok(())
            }
            Action::Operate { task, operation } => self.operate(*task, *operation).await,
            Action::Duplicate { task, step } => self.duplicate(*task, *step).await,
            Action::AdvanceClock(milliseconds) => self.advance_clock(*milliseconds).await,
        }
    }

    async fn check(&mut self) -> Result<()> {
        let tasks = self.model.task_ids();
        let facts = Facts::read(self.engine.pool(), &tasks).await?;
        self.model.compare(&facts)?;
        invariants::check(&facts, self.model.now)?;
        self.history.follow(self.engine.pool(), &tasks, &facts).await
    }

    async fn create(&mut self, requests: &[Request]) -> Result<()> {
        let tasks: Vec<NewTask> = requests
            .iter()
            .map(|request| NewTask {
                priority: request.priority,
                idempotency: request.key.map(|(key, hash)| (format!("{} {key}", self.template), vec![hash])),
                ..NewTask::new(self.template_ids[request.namespace], json!({}))
            })
            .collect();
        if self.both_ways {
            let call = async || Ok(self.engine.create_tasks(&tasks).await?);
            ways::compare(self.engine.pool(), call).await?;
        }
        let outcomes = self.engine.create_tasks(&tasks).await?;
        let expected = self.model.create(&tasks);
        ensure!(outcomes == expected, "created {outcomes:?}, expected {expected:?}");
        Ok(())
    }

    /// Claims steps, and gives the model the steps whose messages were read. Returns the number of these steps.
    async fn claim(&mut self, namespaces: &[usize], limit: u32) -> Result<usize> {
        if self.both_ways {
            let call = async || {
                let steps = self.engine.start_steps(WORKER, &names_of(namespaces), limit, LEASE, &[]).await?;
                Ok(by_key(steps))
            };
            ways::compare(self.engine.pool(), call).await?;
        }
        let before = facts::messages(self.engine.pool()).await?;
        let steps = self.engine.start_steps(WORKER, &names_of(namespaces), limit, LEASE, &[]).await?;
        let after = facts::messages(self.engine.pool()).await?;
        let (read, unread): (Vec<_>, Vec<_>) = before
            .iter()
            .partition(|(id, message)| after.get(id).is_none_or(|left| left.read_count > message.read_count));

        // A claim reads only visible messages, in the order of the namespaces, oldest first, and as many as allowed.
        let position = |namespace: usize| namespaces.iter().position(|named| *named == namespace);
        let rank = |namespace: usize, at| position(namespace).map(|position| (position, at));
        let unread_visible = || {
            let visible = unread.iter().filter(|(_, message)| message.visible_at <= self.model.now);
            visible.filter_map(|((namespace, _), message)| rank(*namespace, message.visible_at))
        };
        let last_read = read.iter().filter_map(|((namespace, _), message)| rank(*namespace, message.visible_at)).max();
        ensure!(
            read.iter().all(|((namespace, _), message)| {
                position(*namespace).is_some() && message.visible_at <= self.model.now
            }),
            "read hidden messages or other namespaces: {read:?}"
        );
        ensure!(
            last_read.is_none() || unread_visible().min().is_none_or(|next| Some(next) >= last_read),
            "read messages out of order"
        );
        ensure!(
            unread_visible().next().is_none() || read.len() >= usize::try_from(limit)?,
            "read fewer messages than allowed"
        );
        ensure!(steps.len() <= usize::try_from(limit)?, "claimed {} steps, the limit is {limit}", steps.len());

        let read: BTreeSet<StepId> = read.iter().map(|(_, message)| message.step).collect();
        let expected = self.model.claim(&read, LEASE_DELTA);
        self.receive(&steps, expected)?;
        Ok(read.len())
    }

    async fn complete(&mut self, results: &[StepResult], namespaces: &[usize], take: u32) -> Result<()> {
        if self.both_ways {
            let call = async || {
                let names = names_of(namespaces);
                let completion = self.engine.complete_steps(WORKER, &names, take, LEASE, results).await?;
                Ok((completion.refused, by_key(completion.handed)))
            };
            ways::compare(self.engine.pool(), call).await?;
        }
        let mut completion = self.engine.complete_steps(WORKER, &names_of(namespaces), take, LEASE, results).await?;
        let (refused, handed) = self.model.complete(results, namespaces, usize::try_from(take)?, LEASE_DELTA);
        completion.refused.sort_unstable();
        ensure!(completion.refused == refused, "refused {:?}, expected {refused:?}", completion.refused);
        self.receive(&completion.handed, handed)
    }

    fn receive(&mut self, steps: &[ClaimedStep], expected: Claims) -> Result<()> {
        let received: Claims = steps.iter().map(|step| ((step.task_id, step.step_no), Claim::from(step))).collect();
        ensure!(received == expected && steps.len() == received.len(), "claimed {received:#?}, expected {expected:#?}");
        self.model.store_tokens(steps);
        self.claims.extend(steps.iter().map(ClaimedStep::step_ref));
        Ok(())
    }

    async fn operate(&mut self, task: u8, operation: Operate) -> Result<()> {
        // The index after the last one means a task that does not exist.
        let tasks = self.model.task_ids();
        let task = tasks.get(usize::from(task) % (tasks.len() + 1)).copied().unwrap_or_else(Uuid::now_v7);
        let name = |number: u8| step_name(usize::from(number));
        let operation = match operation {
            Operate::Cancel => Operation::Cancel,
            Operate::Fail => Operation::Fail,
            Operate::RetryTask => Operation::Retry { step: None },
            Operate::RetryStep(number) => Operation::Retry { step: Some(name(number)) },
            Operate::Resolve(number) => Operation::Resolve { step: name(number), result: json!("manual") },
        };
        let outcome = self.engine.operate(task, &operation, Some("operator"), Some("reason")).await?;
        let expected = self.model.operate(task, &operation);
        ensure!(outcome == expected, "the outcome is {outcome:?}, expected {expected:?}");
        Ok(())
    }

    async fn duplicate(&mut self, task: u8, step: u8) -> Result<()> {
        let tasks = self.model.task_ids();
        let Some(task) = tasks.get(usize::from(task) % tasks.len().max(1)) else { return Ok(()) };
        let insert = match self.model.namespace_of(*task) {
            Some(0) => "insert into pgmq.q_model_a (vt, message) values ($1, $2)",
            _ => "insert into pgmq.q_model_b (vt, message) values ($1, $2)",
        };
        sqlx::query(insert)
            .bind(self.model.now)
            .bind(json!({ "task_id": task, "step_no": step }))
            .execute(self.engine.pool())
            .await?;
        Ok(())
    }

    /// Advances the clock.
    async fn advance_clock(&mut self, milliseconds: i64) -> Result<()> {
        self.model.now += TimeDelta::milliseconds(milliseconds);
        sqlx::query("select set_config('tasker.now', $1::timestamptz::text, false)")
            .bind(self.model.now)
            .execute(self.engine.pool())
            .await?;
        Ok(())
    }

    /// Runs all remaining steps, retries all failed steps, and runs these. Then every task must be final, and the
    /// queues must be empty.
    async fn finish_all(&mut self) -> Result<()> {
        self.drain().await?;
        for task in self.model.task_ids() {
            let retry = Operation::Retry { step: None };
            let outcome = self.engine.operate(task, &retry, None, None).await?;
            let expected = self.model.operate(task, &retry);
            let is_final = self.model.facts_of(task).is_some_and(|task| task.is_final());
            ensure!(
                outcome == expected && (is_final || outcome == OperationOutcome::Done),
                "the retry of {task} is {outcome:?}, expected {expected:?}; final: {is_final}"
            );
        }
        self.drain().await?;
        let not_final = self
            .model
            .task_ids()
            .into_iter()
            .find(|task| !self.model.facts_of(*task).is_some_and(|task| task.is_final()));
        ensure!(not_final.is_none(), "{not_final:?} is not final");
        Ok(())
    }

    async fn drain(&mut self) -> Result<()> {
        // Each of the eight steps in the longest chain takes one round. One more round is for leases that must expire,
        // and one finds no messages.
        for _ in 0..10 {
            self.advance_clock(1_000_000).await?;
            let first = self.claims.len();
            let read = self.claim(&[0, 1], 1000).await?;
            let results: Vec<StepResult> = self.claims[first..]
                .iter()
                .map(|step| StepResult { step: step.clone(), outcome: StepOutcome::Completed(json!("drained")) })
                .collect();
            self.complete(&results, &[], 0).await?;
            self.check().await?;
            if read == 0 {
                let remaining = facts::messages(self.engine.pool()).await?;
                ensure!(remaining.is_empty(), "messages remain: {remaining:?}");
                return Ok(());
            }
        }
        anyhow::bail!("the queues are not empty")
    }

    fn claimed(&self, newest: u8) -> Option<StepRef> {
        let index = usize::from(newest) % self.claims.len().max(1);
        self.claims.iter().rev().nth(index).cloned()
    }

    fn outcome(&mut self, outcome: Outcome) -> StepOutcome {
        self.results += 1;
        let error = json!({ "kind": "test", "message": format!("intended failure {}", self.results) });
        match outcome {
            Outcome::Completed => StepOutcome::Completed(json!({ "result": self.results })),
            Outcome::RetryableError => StepOutcome::RetryableError(error),
            Outcome::PermanentError => StepOutcome::PermanentError(error),
            Outcome::Released => StepOutcome::Released,
        }
    }
}

/// Steps in the order of their keys, without what the database draws.
fn by_key(mut steps: Vec<ClaimedStep>) -> Vec<ClaimedStep> {
    for step in &mut steps {
        step.token = Uuid::nil();
        step.msg_id = 0;
    }
    steps.sort_by_key(|step| (step.task_id, step.step_no));
    steps
}

fn names_of(namespaces: &[usize]) -> Vec<String> {
    namespaces.iter().map(|namespace| NAMESPACES[*namespace].to_owned()).collect()
}
