//! Random workflows that take shape while they run: decisions, joins, conditions, maps, signals and gates.
//!
//! Which steps are skipped is a function of the graph and the choices. The test computes it, replays random actions, checks
//! the invariants after each of them, and compares the end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use tasker_engine::{
    ClaimedStep, CreateOutcome, Engine, NewSignal, NewTask, Operation, OperationOutcome, SignalOutcome, StepOutcome,
    StepResult,
};
use uuid::Uuid;

use crate::cases::replay_cases;
use crate::graphs::step_name;

const NAMESPACE: &str = "shapes";
const LEASE: Duration = Duration::from_secs(30);
/// The number of cases, unless `PROPTEST_CASES` is set.
const CASES: u32 = 60;

/// What is special about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Standard,
    /// It chooses which of its dependents run.
    Decision,
    /// It runs if one of its dependencies ran.
    Convergence,
    /// It runs once for each element of a list in the result of a dependency.
    Map,
    /// It waits for the signal that has its name.
    Signal,
}

/// A step. Its index is its number, and its dependencies have smaller ones.
#[derive(Debug, Clone)]
struct Step {
    dependencies: Vec<usize>,
    kind: Kind,
    choice: u8,
    /// It has the condition that the result of its first dependency has `go: true`.
    when: bool,
    /// The field `go` of its result.
    go: bool,
    /// The length of the list in its result.
    items: usize,
    /// Whether it needs the only slot of a gate, and whether it keeps a rate.
    gates: (bool, bool),
}

#[derive(Debug, Clone, Copy)]
enum Action {
    /// Claims up to so many steps.
    Claim(u32),
    /// Ends the held step of this index.
    Complete(u8),
    Fail(u8),
    Release(u8),
    /// Sends the signal of the step with this number.
    Signal(u8),
    /// Resolves the active step with this number, if it has no children.
    Resolve(u8),
    AdvanceClock(i64),
}

#[derive(Debug, Clone)]
struct Case {
    steps: Vec<Step>,
    actions: Vec<Action>,
}

fn case() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![
        3 => Just(Kind::Standard),
        3 => Just(Kind::Decision),
        3 => Just(Kind::Convergence),
        2 => Just(Kind::Map),
        1 => Just(Kind::Signal),
    ];
    let gates = (prop::bool::weighted(0.4), prop::bool::weighted(0.2));
    let step = (any::<u8>(), kind, any::<u8>(), prop::bool::weighted(0.3), prop::bool::weighted(0.7), 0..4usize, gates);
    let action = prop_oneof![
        4 => (1..5u32).prop_map(Action::Claim),
        6 => any::<u8>().prop_map(Action::Complete),
        1 => any::<u8>().prop_map(Action::Fail),
        1 => any::<u8>().prop_map(Action::Release),
        2 => (0..8u8).prop_map(Action::Signal),
        1 => (0..8u8).prop_map(Action::Resolve),
        1 => prop_oneof![Just(1i64), Just(2_000), Just(31_000)].prop_map(Action::AdvanceClock),
    ];
    (vec(step, 2..=8), vec(action, 1..60)).prop_map(|(drawn, actions)| {
        let mut steps: Vec<Step> = Vec::new();
        for (number, (edges, mut kind, choice, when, go, items, gates)) in drawn.into_iter().enumerate() {
            let dependencies: Vec<usize> = (0..number).filter(|earlier| edges >> earlier & 1 == 1).collect();
            let has_list = dependencies.iter().any(|step| steps[*step].kind != Kind::Map);
            if kind == Kind::Convergence && dependencies.is_empty() || kind == Kind::Map && !has_list {
                kind = Kind::Standard;
            }
            let when = when && !dependencies.is_empty();
            steps.push(Step { dependencies, kind, choice, when, go, items, gates });
        }
        Case { steps, actions }
    })
}

impl Case {
    /// The dependency that has the list of a map.
    fn list_of(&self, number: usize) -> Option<usize> {
        self.steps[number].dependencies.iter().copied().find(|step| self.steps[*step].kind != Kind::Map)
    }

    /// Whether the result of a decision names a step: those of its dependents that `Step::choice` has a bit for.
    fn names(&self, decision: usize, step: usize) -> bool {
        self.steps[step].dependencies.contains(&decision) && self.steps[decision].choice >> step & 1 == 1
    }

    /// Whether a decision lets a dependent run: its result names the dependent, or a step to which the dependent leads.
    fn chooses(&self, decision: usize, dependent: usize) -> bool {
        let mut reached = vec![dependent];
        while let Some(step) = reached.pop() {
            if self.names(decision, step) {
                return true;
            }
            reached.extend((0..self.steps.len()).filter(|later| self.steps[*later].dependencies.contains(&step)));
        }
        false
    }

    fn template(&self, name: &str) -> Value {
        let steps = self.steps.iter().enumerate().map(|(number, step)| {
            let mut fields = json!({
                "name": step_name(number),
                "handler": { "callable": "shapes.step" },
                "dependencies": step.dependencies.iter().map(|dependency| step_name(*dependency)).collect::<Vec<_>>(),
                "retry": { "limit": 100, "backoff": "fixed", "backoff_base_ms": 1000, "max_backoff_ms": 1000 },
            });
            match step.kind {
                Kind::Standard => {}
                Kind::Decision => fields["type"] = json!("decision"),
                Kind::Convergence => fields["type"] = json!("deferred_convergence"),
                Kind::Map => {
                    let list = self.list_of(number).map(step_name);
                    fields["map"] = json!({ "step": list, "pointer": "/items", "parallelism": 2 });
                }
                Kind::Signal => fields["wait"] = json!({ "signal": step_name(number) }),
            }
            if step.gates.0 {
                fields["concurrency"] = json!({ "gate": "one", "limit": 1 });
            }
            if step.gates.1 {
                fields["rate"] = json!({ "gate": "slow", "limit": 1, "per_seconds": 2, "burst": 1 });
            }
            if step.when {
                fields["when"] = json!([{ "step": step_name(step.dependencies[0]), "pointer": "/go", "equals": true }]);
            }
            fields
        });
        json!({ "name": name, "namespace_name": NAMESPACE, "version": "1.0.0", "steps": steps.collect::<Vec<_>>() })
    }

    /// What the handler of a step returns, and what an operator resolves it with.
    fn result(&self, number: usize) -> Value {
        let step = &self.steps[number];
        let mut result = Map::new();
        result.insert("go".into(), json!(step.go));
        result.insert("items".into(), json!(vec![number; step.items]));
        if step.kind == Kind::Decision {
            let chosen: Vec<String> =
                (0..self.steps.len()).filter(|step| self.names(number, *step)).map(step_name).collect();
            let outcome = match chosen.is_empty() {
                true => json!({ "type": "no_branches" }),
                false => json!({ "type": "create_steps", "step_names": chosen }),
            };
            result.insert("decision_point_outcome".into(), outcome);
        }
        Value::Object(result)
    }

    /// Which steps are skipped.
    fn skipped(&self) -> Vec<bool> {
        let mut skipped: Vec<bool> = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            let stops = |dependency: &usize| {
                skipped[*dependency]
                    || self.steps[*dependency].kind == Kind::Decision && !self.chooses(*dependency, number)
            };
            let stopped = step.dependencies.iter().filter(|dependency| stops(dependency)).count();
            let by_dependencies = match step.kind {
                Kind::Convergence => stopped == step.dependencies.len(),
                _ => stopped > 0,
            };
            // The result of a group has no field `go`.
            let holds = step
                .dependencies
                .first()
                .is_none_or(|first| !skipped[*first] && self.steps[*first].kind != Kind::Map && self.steps[*first].go);
            skipped.push(by_dependencies || step.when && !holds);
        }
        skipped
    }

    /// How many children a group has.
    fn children(&self, number: usize) -> usize {
        self.list_of(number).map_or(0, |list| self.steps[list].items)
    }
}

/// Counts of rows that break an invariant, each of which must be zero.
const INVARIANTS: &str = "
    select
        (select count(*) from tasker.steps s
         join tasker.signals g on g.task_id = s.task_id and g.name = s.signal
         where s.task_id = $1 and s.state = 'waiting') as waits_for_a_stored_signal,
        (select count(*) from tasker.steps g
         where g.task_id = $1 and g.children > 0 and g.state = 'pending' and g.pending_dependencies <> (
             select count(*) from tasker.steps c
             where c.task_id = $1 and c.definition = g.step_no and c.state not in ('completed', 'resolved_manually')
         )) as group_with_a_wrong_counter,
        (select count(*) from tasker.steps g
         where g.task_id = $1 and g.children > 0 and 2 < (
             select count(*) from tasker.steps c
             where c.task_id = $1 and c.definition = g.step_no
               and c.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting')
         )) as group_with_too_many_active_children,
        (select count(*) from tasker.tasks t
         where t.task_id = $1 and (t.total_steps, t.completed_steps, t.active_steps, t.failed_steps) <> (
             select count(*), count(*) filter (where s.state in ('completed', 'resolved_manually', 'skipped')),
                    count(*) filter (where s.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting')),
                    count(*) filter (where s.state = 'failed')
             from tasker.steps s where s.task_id = $1)) as task_with_wrong_counters,
        (select count(*) from tasker.steps s
         where s.task_id = $1 and s.state in ('enqueued', 'in_progress', 'waiting_for_retry') and not exists (
             select from pgmq.q_shapes q
             where q.message ->> 'task_id' = $1::text and (q.message ->> 'step_no')::integer = s.step_no
               and q.vt <= greatest(s.due_at, tasker.now(), (
                   select h.starts_at from tasker.gate_holds h where h.task_id = $1 and h.step_no = s.step_no)))
           and not exists (
               select from tasker.gate_waiters w where w.task_id = $1 and w.step_no = s.step_no)
        ) as active_step_without_a_timely_message,
        (select greatest(count(*) - 1, 0) from tasker.gate_holds where gate_id is not null) as held_slots_too_many,
        (select count(*) from tasker.gate_holds h
         left join tasker.steps s on s.task_id = h.task_id and s.step_no = h.step_no
         where (s.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting')) is not true) as ended_step_with_a_slot,
        (select count(*) from tasker.gate_waiters w
         left join tasker.steps s on s.task_id = w.task_id and s.step_no = w.step_no
         where s.state is distinct from 'enqueued') as ended_step_that_waits_for_a_slot,
        (select count(*) from tasker.gate_waiters w
         join pgmq.q_shapes q on q.message ->> 'task_id' = w.task_id::text and q.message ->> 'step_no' = w.step_no::text
        ) as message_of_a_step_that_waits_for_a_slot,
        (select count(*) from tasker.gate_waiters
         where not exists (select from tasker.gate_holds where gate_id is not null)) as step_that_waits_for_a_free_slot,
        (select count(*) from tasker.gate_slots s
         where s.holds <> (select count(*) from tasker.gate_holds h where h.gate_id = s.gate_id)) as slots_counted_wrongly";

#[derive(Debug, Default, PartialEq, Eq, FromRow)]
struct Broken {
    waits_for_a_stored_signal: i64,
    group_with_a_wrong_counter: i64,
    group_with_too_many_active_children: i64,
    task_with_wrong_counters: i64,
    active_step_without_a_timely_message: i64,
    held_slots_too_many: i64,
    ended_step_with_a_slot: i64,
    ended_step_that_waits_for_a_slot: i64,
    message_of_a_step_that_waits_for_a_slot: i64,
    step_that_waits_for_a_free_slot: i64,
    slots_counted_wrongly: i64,
}

struct Replay<'a> {
    engine: Engine,
    case: &'a Case,
    task: Uuid,
    held: Vec<ClaimedStep>,
}

impl<'a> Replay<'a> {
    async fn new(pool: &PgPool, name: &str, case: &'a Case) -> Result<Self> {
        let engine = Engine::new(pool.clone());
        let source = case.template(name).to_string();
        let parsed = tasker_template::parse(&source, None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        engine.apply_template(&parsed.template, "test").await?;
        let template = engine.find_template(NAMESPACE, name, None).await?.context("the template is not stored")?;
        // A failed case may have left messages and slots.
        for left in
            ["pgmq.q_shapes", "tasker.gate_holds", "tasker.gate_waiters", "tasker.gate_slots", "tasker.gate_rates"]
        {
            sqlx::query(AssertSqlSafe(format!("delete from {left}"))).execute(pool).await?;
        }
        sqlx::query("select set_config('tasker.now', '2030-01-01 00:00:00+00', false)").execute(pool).await?;
        let task = NewTask::new(template.template_id, json!({}));
        let outcome = engine.create_tasks(std::slice::from_ref(&task)).await?;
        ensure!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
        Ok(Self { engine, case, task: task.task_id, held: Vec::new() })
    }

    async fn act(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Claim(limit) => self.claim(limit).await,
            Action::Complete(index) => self.end(index, |case, step| StepOutcome::Completed(result(case, step))).await,
            Action::Fail(index) => {
                let error = json!({ "kind": "test", "message": "intended failure" });
                self.end(index, |_, _| StepOutcome::RetryableError(error)).await
            }
            Action::Release(index) => self.end(index, |_, _| StepOutcome::Released).await,
            Action::Signal(number) => self.signal(usize::from(number)).await,
            Action::Resolve(number) => self.resolve(usize::from(number)).await,
            Action::AdvanceClock(milliseconds) => {
                sqlx::query("select set_config('tasker.now', (tasker.now() + $1 * interval '1 ms')::text, false)")
                    .bind(milliseconds)
                    .execute(self.engine.pool())
                    .await?;
                Ok(())
            }
        }
    }

    async fn claim(&mut self, limit: u32) -> Result<()> {
        let claimed = self.engine.start_steps("w", &[NAMESPACE.to_owned()], limit, LEASE, &[]).await?;
        self.held.extend(claimed);
        Ok(())
    }

    async fn end(&mut self, index: u8, outcome: impl FnOnce(&Case, &ClaimedStep) -> StepOutcome) -> Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let step = self.held.remove(usize::from(index) % self.held.len());
        let result = StepResult { step: step.step_ref(), outcome: outcome(self.case, &step) };
        // It may be refused: its lease may have ended, or an operator has resolved it.
        let namespaces = [NAMESPACE.to_owned()];
        let completion = self.engine.complete_steps("w", &namespaces, u32::from(index % 3), LEASE, &[result]).await?;
        self.held.extend(completion.handed);
        Ok(())
    }

    async fn signal(&self, number: usize) -> Result<()> {
        let signal = NewSignal { task_id: self.task, name: step_name(number), payload: json!(number), actor: None };
        let outcomes = self.engine.send_signals(&[signal]).await?;
        ensure!(
            matches!(outcomes[..], [SignalOutcome::Done | SignalOutcome::Repeated | SignalOutcome::WrongState]),
            "{outcomes:?}"
        );
        Ok(())
    }

    async fn resolve(&self, number: usize) -> Result<()> {
        let state = |step: &str| matches!(step, "enqueued" | "in_progress" | "waiting_for_retry" | "waiting");
        let states = self.states().await?;
        let Some((_, found, _)) = states.iter().find(|(step, ..)| *step == number) else { return Ok(()) };
        if !state(found) {
            return Ok(());
        }
        let operation = Operation::Resolve { step: step_name(number), result: self.case.result(number) };
        let outcome = self.engine.operate(self.task, &operation, None, None).await?;
        ensure!(outcome == OperationOutcome::Done, "{outcome:?}");
        Ok(())
    }

    /// The number of each step of the template, its state, and the number of its children.
    async fn states(&self) -> Result<Vec<(usize, String, usize)>> {
        let rows: Vec<(i16, String, i16)> = sqlx::query_as(
            "select step_no, state::text, coalesce(children, 0::smallint) from tasker.steps
             where task_id = $1 and definition is null order by step_no",
        )
        .bind(self.task)
        .fetch_all(self.engine.pool())
        .await?;
        rows.into_iter()
            .map(|(step, state, children)| Ok((usize::try_from(step)?, state, usize::try_from(children)?)))
            .collect()
    }

    async fn check(&self) -> Result<()> {
        let broken: Broken = sqlx::query_as(INVARIANTS).bind(self.task).fetch_one(self.engine.pool()).await?;
        ensure!(broken == Broken::default(), "{broken:?}");
        Ok(())
    }

    /// Sends all signals, and runs all steps. Then the task must be completed, and the right steps must have been skipped.
    async fn finish(&mut self) -> Result<()> {
        for number in 0..self.case.steps.len() {
            self.signal(number).await?;
        }
        for _ in 0..100 {
            self.act(Action::AdvanceClock(31_000)).await?;
            self.claim(100).await?;
            while !self.held.is_empty() {
                self.act(Action::Complete(0)).await?;
            }
            self.check().await?;
            if self.engine.get_task_summary(self.task).await?.is_some_and(|task| task.status.is_at_rest()) {
                break;
            }
        }
        let states = self.states().await?;
        let skipped = self.case.skipped();
        for (number, state, children) in &states {
            let expected = skipped[*number];
            ensure!((state == "skipped") == expected, "step {number} is {state}, expected to be skipped: {expected}");
            ensure!(
                expected || matches!(state.as_str(), "completed" | "resolved_manually"),
                "step {number} is {state}"
            );
            if self.case.steps[*number].kind == Kind::Map && !expected {
                let expected = self.case.children(*number);
                ensure!(*children == expected, "step {number} has {children} children, expected {expected}");
            }
        }
        Ok(())
    }
}

fn result(case: &Case, step: &ClaimedStep) -> Value {
    usize::try_from(step.step_no).ok().filter(|number| *number < case.steps.len()).map_or_else(
        || json!({ "item": step.input.as_ref().and_then(|input| input.get("item")) }),
        |number| case.result(number),
    )
}

async fn replay(pool: &PgPool, name: &str, case: &Case) -> Result<()> {
    let mut replay = Replay::new(pool, name, case).await?;
    replay.check().await.context("after the creation")?;
    for (number, action) in case.actions.iter().enumerate() {
        replay.act(*action).await.with_context(|| format!("action {number}, {action:?}"))?;
        replay.check().await.with_context(|| format!("after action {number}, {action:?}"))?;
    }
    replay.finish().await.context("finishing the task")
}

#[test]
fn the_shape_of_a_task_is_a_function_of_its_graph_and_its_choices() -> Result<()> {
    replay_cases(CASES, case(), replay)
}
