//! Gates: how many steps run at once, and how many start in a time.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tasker_api::{Gate, PatchGate, StepState, TaskState};
use tasker_engine::{
    ClaimedStep, CreateOutcome, GateOutcome, NewTask, Operation, OperationOutcome, StepOutcome, StepResult, Wait,
};
use uuid::Uuid;

use crate::fixture::{Fixture, LEASE, NAMESPACE, completed, failed, step, with};

/// A step of the gate `account`, which lets `limit` steps of each account run.
fn gated(name: &str, dependencies: &[&str], limit: u32) -> Value {
    with(name, dependencies, json!({ "concurrency": { "gate": "account", "key": "/account", "limit": limit } }))
}

/// Creates a task. Returns its id.
async fn create(fixture: &Fixture, template_id: i64, context: Value) -> Result<Uuid> {
    let task = NewTask::new(template_id, context);
    let task_id = task.task_id;
    let outcome = fixture.engine.create_tasks(&[task]).await?;
    ensure!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
    Ok(task_id)
}

/// Creates tasks of one account, each a millisecond after the other.
async fn create_some(fixture: &Fixture, template_id: i64, account: &str, count: usize) -> Result<Vec<Uuid>> {
    let mut tasks = Vec::new();
    for _ in 0..count {
        tasks.push(create(fixture, template_id, json!({ "account": account })).await?);
        fixture.advance_clock(1).await?;
    }
    Ok(tasks)
}

fn with_outcome(step: &ClaimedStep, outcome: StepOutcome) -> StepResult {
    StepResult { step: step.step_ref(), outcome }
}

fn ids(steps: &[ClaimedStep]) -> Vec<Uuid> {
    steps.iter().map(|step| step.task_id).collect()
}

/// The rules that hold after each call. `limit` is the capacity of all gates.
async fn check(fixture: &Fixture, limit: i32) -> Result<()> {
    let wrong: Vec<String> = sqlx::query_scalar(
        "select format('%s holds of %s', count(*), key) from tasker.gate_holds
         where gate_id is not null group by gate_id, key having count(*) > $1
         union all
         select format('%s counts %s', key, holds) from tasker.gate_slots s
         where holds <> (select count(*) from tasker.gate_holds h where h.gate_id = s.gate_id and h.key = s.key)
         union all
         select format('%s holds in state %s', task_id, s.state)
         from tasker.gate_holds left join tasker.steps s using (task_id, step_no)
         where s.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting') is not true
         union all
         select format('%s waits in state %s', task_id, s.state)
         from tasker.gate_waiters left join tasker.steps s using (task_id, step_no)
         where s.state <> 'enqueued' or s.state is null
         union all
         select format('%s waits with a message', w.task_id)
         from tasker.gate_waiters w
         join pgmq.q_test m on m.message = jsonb_build_object('task_id', w.task_id, 'step_no', w.step_no)
         union all
         select format('%s waits, but %s of %s are held', w.key, s.holds, $1)
         from tasker.gate_waiters w join tasker.gate_slots s using (gate_id, key) where s.holds < $1",
    )
    .bind(limit)
    .fetch_all(&fixture.pool)
    .await?;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

async fn state(fixture: &Fixture, task: Uuid) -> Result<TaskState> {
    Ok(fixture.engine.get_task(task, false).await?.context("no task")?.summary.status)
}

#[tokio::test]
async fn steps_of_a_key_run_in_the_order_of_their_arrival() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 2)])).await?;
    let tasks = create_some(&fixture, template, "a", 5).await?;
    let other = create_some(&fixture, template, "b", 1).await?;
    let mut running = fixture.claim("w", 10).await?;
    assert_eq!(ids(&running), [tasks[0], tasks[1], other[0]]);
    let other = running.pop().context("three steps run")?;
    check(&fixture, 2).await?;
    // The others wait without a message, and nobody polls for them.
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_waiters").await?, 3);
    fixture.advance_clock(29_000).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    // The first in the order of arrival is the next.
    for expected in &tasks[2..] {
        fixture.complete("w", 10, &[completed(&running.remove(0))]).await?;
        let next = fixture.claim_only("w").await?;
        assert_eq!(next.task_id, *expected);
        running.push(next);
        check(&fixture, 2).await?;
    }
    for step in running.into_iter().chain([other]) {
        fixture.complete("w", 10, &[completed(&step)]).await?;
    }
    check(&fixture, 2).await?;
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_holds").await?, 0);
    for task in tasks {
        assert_eq!(state(&fixture, task).await?, TaskState::Completed);
    }
    Ok(())
}

#[tokio::test]
async fn superfluous_messages_let_nobody_in_twice() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 1)])).await?;
    let tasks = create_some(&fixture, template, "a", 3).await?;
    let mut running = fixture.claim_only("w").await?;
    for expected in &tasks[1..] {
        // Somebody sends another message for each step, whether it waits, has a slot or has ended.
        for _ in 0..2 {
            sqlx::query(
                "select pgmq.send('test', jsonb_build_object('task_id', task_id, 'step_no', step_no)) from tasker.steps",
            )
            .execute(&fixture.pool)
            .await?;
        }
        assert!(fixture.claim("w", 10).await?.is_empty());
        fixture.advance_clock(2 * 30_000).await?;
        // The lease of the step that runs has ended, so its next attempt is found too. It keeps its slot.
        running = fixture.claim_only("w").await?;
        fixture.complete("w", 10, &[completed(&running)]).await?;
        running = fixture.claim_only("w").await?;
        assert_eq!(running.task_id, *expected);
    }
    fixture.complete("w", 10, &[completed(&running)]).await?;
    for _ in 0..10 {
        fixture.advance_clock(2 * 30_000).await?;
        assert!(fixture.claim("w", 10).await?.is_empty());
    }
    check(&fixture, 1).await?;
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_step_that_has_waited_is_before_all_that_came_later() -> Result<()> {
    let fixture = Fixture::new().await?;
    let gate = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 1)])).await?;
    let tasks = create_some(&fixture, gate, "a", 2).await?;
    let first = fixture.claim_only("w").await?;
    let later = create(&fixture, gate, json!({ "account": "b" })).await?;
    fixture.complete("w", 0, &[completed(&first)]).await?;
    assert_eq!(ids(&fixture.claim("w", 1).await?), [tasks[1]]);
    assert_eq!(ids(&fixture.claim("w", 1).await?), [later]);
    Ok(())
}

#[tokio::test]
async fn priority_counts_before_the_gate_and_not_at_it() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture
        .store_template(NAMESPACE, json!([with("pay", &[], json!({ "concurrency": { "gate": "all", "limit": 1 } }))]))
        .await?;
    // Both are in the queue when a worker looks: the urgent one is the first at the gate.
    let slow = fixture.create_task(template).await?;
    let urgent = fixture.create_task_with_priority(template, 100).await?;
    let running = fixture.claim_only("w").await?;
    assert_eq!(running.task_id, urgent);
    // It comes when another one waits already.
    let more_urgent = fixture.create_task_with_priority(template, 100).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    fixture.complete("w", 0, &[completed(&running)]).await?;
    let running = fixture.claim_only("w").await?;
    assert_eq!(running.task_id, slow);
    fixture.complete("w", 0, &[completed(&running)]).await?;
    assert_eq!(fixture.claim_only("w").await?.task_id, more_urgent);
    Ok(())
}

#[tokio::test]
async fn a_gated_step_is_not_handed_on() -> Result<()> {
    let fixture = Fixture::new().await?;
    let steps = json!([step("a", &[]), gated("b", &["a"], 1), step("c", &["b"])]);
    let template = fixture.store_template(NAMESPACE, steps).await?;
    create_some(&fixture, template, "x", 1).await?;
    let a = fixture.claim_only("w").await?;
    assert!(fixture.complete("w", 10, &[completed(&a)]).await?.handed.is_empty());
    let b = fixture.claim_only("w").await?;
    let handed = fixture.complete("w", 10, &[completed(&b)]).await?.handed;
    assert_eq!(handed.iter().map(|step| step.step_name.as_str()).collect::<Vec<_>>(), ["c"]);
    check(&fixture, 1).await
}

#[tokio::test]
async fn a_slot_is_kept_over_attempts_and_given_back_at_every_end() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 1)])).await?;
    let next = async |task: Uuid| -> Result<ClaimedStep> {
        check(&fixture, 1).await?;
        let step = fixture.claim_only("w").await?;
        ensure!(step.task_id == task, "not the next one: {step:?}");
        Ok(step)
    };
    let tasks = create_some(&fixture, template, "a", 9).await?;
    // Retried, returned, lost with its worker, and at a checkpoint: the slot is kept.
    let step = next(tasks[0]).await?;
    fixture.complete("w", 0, &[failed(&step)]).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    fixture.advance_clock(1_000).await?;
    let step = next(tasks[0]).await?;
    fixture.complete("w", 0, &[with_outcome(&step, StepOutcome::Released)]).await?;
    next(tasks[0]).await?;
    fixture.advance_clock(i64::try_from(LEASE.as_millis())?).await?;
    let step = next(tasks[0]).await?;
    let checkpoint = Wait { checkpoint: Some(json!(1)), ..Wait::default() };
    fixture.complete("w", 0, &[with_outcome(&step, StepOutcome::Waiting(checkpoint))]).await?;
    let step = next(tasks[0]).await?;
    // It completes.
    fixture.complete("w", 0, &[completed(&step)]).await?;
    // It fails for good, and is last when an operator retries it.
    let step = next(tasks[1]).await?;
    let error = StepOutcome::PermanentError(json!({ "kind": "test", "message": "intended failure" }));
    fixture.complete("w", 0, &[with_outcome(&step, error)]).await?;
    let retry = Operation::Retry { step: None };
    assert_eq!(fixture.engine.operate(tasks[1], &retry, None, None).await?, OperationOutcome::Done);
    // Its task is cancelled while it runs.
    next(tasks[2]).await?;
    fixture.engine.operate(tasks[2], &Operation::Cancel, None, None).await?;
    // It is resolved.
    next(tasks[3]).await?;
    let resolve = Operation::Resolve { step: "pay".into(), result: json!(1) };
    fixture.engine.operate(tasks[3], &resolve, None, None).await?;
    // It loses its last attempt with its worker.
    let mut lost = next(tasks[4]).await?;
    for attempt in 1..=3 {
        assert_eq!(lost.attempt, attempt);
        fixture.advance_clock(i64::try_from(LEASE.as_millis())?).await?;
        let mut steps = fixture.claim("w", 10).await?;
        if attempt < 3 {
            lost = steps.pop().context("no attempt")?;
            assert_eq!(lost.task_id, tasks[4]);
        } else {
            assert!(steps.is_empty());
        }
    }
    // It sleeps, and is last when it wakes.
    let step = next(tasks[5]).await?;
    let sleep = Wait { delay: Some(std::time::Duration::from_secs(1)), ..Wait::default() };
    fixture.complete("w", 0, &[with_outcome(&step, StepOutcome::Waiting(sleep))]).await?;
    // Steps that wait for a slot end too.
    let step = next(tasks[6]).await?;
    fixture.advance_clock(1_000).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    fixture.engine.operate(tasks[7], &Operation::Cancel, None, None).await?;
    fixture.complete("w", 0, &[completed(&step)]).await?;
    let step = next(tasks[8]).await?;
    fixture.complete("w", 0, &[completed(&step)]).await?;
    let step = next(tasks[1]).await?;
    fixture.complete("w", 0, &[completed(&step)]).await?;
    let step = next(tasks[5]).await?;
    fixture.complete("w", 0, &[completed(&step)]).await?;
    check(&fixture, 1).await?;
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_holds").await?, 0);
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_waiters").await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_input_without_the_key_fails_the_step() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 1), step("after", &["pay"])])).await?;
    for (context, valid) in [
        (json!({}), false),
        (json!({ "account": null }), false),
        (json!({ "account": { "id": 1 } }), false),
        (json!({ "account": "x".repeat(256) }), false),
        (json!({ "account": "x".repeat(255) }), true),
        (json!({ "account": 7 }), true),
        (json!({ "account": false }), true),
    ] {
        let task = create(&fixture, template, context.clone()).await?;
        let detail = fixture.engine.get_task(task, true).await?.context("no task")?;
        if valid {
            assert_eq!(detail.steps[0].status, StepState::Enqueued, "{context}");
            continue;
        }
        assert_eq!(detail.summary.status, TaskState::BlockedByFailures, "{context}");
        let error = detail.steps[0].error.clone().context("no error")?;
        assert_eq!(error["kind"], "bad_gate_key");
        assert!(error["message"].as_str().context("no message")?.contains("/account"), "{error}");
        // A retry finds the same.
        fixture.engine.operate(task, &Operation::Retry { step: None }, None, None).await?;
        assert_eq!(state(&fixture, task).await?, TaskState::BlockedByFailures);
        let resolve = Operation::Resolve { step: "pay".into(), result: json!(1) };
        fixture.engine.operate(task, &resolve, None, None).await?;
    }
    assert_eq!(fixture.claim("w", 100).await?.len(), 7);
    check(&fixture, 1).await
}

#[tokio::test]
async fn a_rate_spreads_the_starts_of_attempts_over_time() -> Result<()> {
    let fixture = Fixture::new().await?;
    // One each 6 s, and three at once.
    let mail = with(
        "mail",
        &[],
        json!({
            "rate": { "gate": "mailer", "limit": 10, "per_seconds": 60, "burst": 3 },
            "retry": { "limit": 2, "backoff": "fixed", "backoff_base_ms": 0, "max_backoff_ms": 0 },
        }),
    );
    let template = fixture.store_template(NAMESPACE, json!([mail])).await?;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(create(&fixture, template, json!({})).await?);
        fixture.advance_clock(1).await?;
    }
    let first = fixture.claim("w", 10).await?;
    assert_eq!(ids(&first), tasks[..3]);
    let started: Vec<String> = fixture
        .values("select extract(epoch from starts_at - tasker.now())::numeric(9, 3)::text from tasker.gate_holds order by starts_at")
        .await?;
    assert_eq!(started, ["6.000", "12.000"]);
    // A failed attempt needs another reservation.
    fixture.complete("w", 0, &[failed(&first[0]), completed(&first[1]), completed(&first[2])]).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    for expected in [tasks[3], tasks[4], tasks[0]] {
        fixture.advance_clock(5_999).await?;
        assert!(fixture.claim("w", 10).await?.is_empty());
        fixture.advance_clock(1).await?;
        let step = fixture.claim_only("w").await?;
        assert_eq!(step.task_id, expected);
        fixture.complete("w", 0, &[completed(&step)]).await?;
    }
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_holds").await?, 0);
    // What was not used for a while allows a burst again, and no more.
    fixture.advance_clock(3_600_000).await?;
    for _ in 0..5 {
        create(&fixture, template, json!({})).await?;
    }
    assert_eq!(fixture.claim("w", 10).await?.len(), 3);
    // The tasks that wait for their time end like others.
    for task in fixture.values::<Uuid>("select task_id from tasker.gate_holds").await? {
        fixture.engine.operate(task, &Operation::Cancel, None, None).await?;
    }
    check(&fixture, 1).await
}

#[tokio::test]
async fn a_step_can_need_a_slot_and_a_rate() -> Result<()> {
    let fixture = Fixture::new().await?;
    let call = with(
        "call",
        &[],
        json!({
            "concurrency": { "gate": "account", "key": "/account", "limit": 1 },
            "rate": { "gate": "partner", "limit": 1, "per_seconds": 10 },
        }),
    );
    let template = fixture.store_template(NAMESPACE, json!([call])).await?;
    let a = create_some(&fixture, template, "a", 2).await?;
    let b = create_some(&fixture, template, "b", 1).await?;
    let step = fixture.claim_only("w").await?;
    assert_eq!(step.task_id, a[0]);
    // `b` has its slot and waits for the rate. The second `a` has no slot, so it has no time yet.
    fixture.complete("w", 0, &[completed(&step)]).await?;
    check(&fixture, 1).await?;
    for expected in [b[0], a[1]] {
        assert!(fixture.claim("w", 10).await?.is_empty());
        let waits = fixture.engine.explain_gate(expected, "call", 100).await?.context("waits for nothing")?;
        assert!(waits.gate == "partner" && waits.starts_at.is_some(), "{waits:?}");
        fixture.advance_clock(10_000).await?;
        let step = fixture.claim_only("w").await?;
        assert_eq!(step.task_id, expected);
        fixture.complete("w", 0, &[completed(&step)]).await?;
    }
    check(&fixture, 1).await
}

#[tokio::test]
async fn children_of_a_map_pass_the_gate_one_by_one() -> Result<()> {
    let fixture = Fixture::new().await?;
    let steps = json!([
        step("list", &[]),
        with(
            "each",
            &["list"],
            json!({
                "map": { "step": "list", "pointer": "/items", "parallelism": 4 },
                "concurrency": { "gate": "account", "key": "/account", "limit": 2 },
            })
        ),
        step("join", &["each"]),
    ]);
    let template = fixture.store_template(NAMESPACE, steps).await?;
    let tasks = create_some(&fixture, template, "a", 2).await?;
    let lists = fixture.claim("w", 10).await?;
    for list in &lists {
        let items = StepOutcome::Completed(json!({ "items": [1, 2, 3, 4, 5] }));
        fixture.complete("w", 0, &[with_outcome(list, items)]).await?;
    }
    let mut running = fixture.claim("w", 10).await?;
    assert_eq!(running.len(), 2);
    check(&fixture, 2).await?;
    // Resolving the group of the first task cancels its children, and those of the other continue.
    let resolve = Operation::Resolve { step: "each".into(), result: json!([]) };
    fixture.engine.operate(tasks[0], &resolve, None, None).await?;
    check(&fixture, 2).await?;
    let mut ran = 0;
    running.retain(|step| step.task_id == tasks[1]);
    loop {
        let claimed = fixture.claim("w", 10).await?;
        running.extend(claimed.into_iter().filter(|step| step.step_name != "join"));
        let Some(step) = running.pop() else { break };
        fixture.complete("w", 0, &[completed(&step)]).await?;
        check(&fixture, 2).await?;
        ran += 1;
    }
    assert_eq!(ran, 5);
    Ok(())
}

#[tokio::test]
async fn a_gate_limits_the_child_tasks_that_run_at_once() -> Result<()> {
    let fixture = Fixture::new().await?;
    let child =
        json!({ "name": "child", "namespace_name": NAMESPACE, "version": "1.0.0", "steps": [step("work", &[])] });
    let parsed = tasker_template::parse(&child.to_string(), None)?;
    fixture.engine.apply_template(&parsed.template, "test").await?;
    let run = with(
        "run",
        &[],
        json!({
            "task": { "template": "child", "context_from": "/order" },
            "concurrency": { "gate": "children", "limit": 1 },
        }),
    );
    let template = fixture.store_template(NAMESPACE, json!([run, step("after", &["run"])])).await?;
    let mut tasks = Vec::new();
    for n in 0..3 {
        tasks.push(create(&fixture, template, json!({ "order": { "n": n } })).await?);
        fixture.advance_clock(1).await?;
    }
    // Each claim finds at most one child: the others have not been created.
    for n in 0..3 {
        let mut claimed = fixture.claim("w", 10).await?;
        claimed.extend(fixture.claim("w", 10).await?);
        claimed.extend(fixture.claim("w", 10).await?);
        let (works, after): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|step| step.step_name == "work");
        assert_eq!(after.len(), usize::from(n > 0), "{n}: {after:?}");
        assert_eq!(works.len(), 1);
        assert_eq!(works[0].context, json!({ "n": n }));
        check(&fixture, 1).await?;
        fixture.complete("w", 0, &[completed(&works[0])]).await?;
        for step in after {
            fixture.complete("w", 0, &[completed(&step)]).await?;
        }
    }
    // The end of the last child.
    let mut claimed = fixture.claim("w", 10).await?;
    claimed.extend(fixture.claim("w", 10).await?);
    assert_eq!(claimed.len(), 1);
    fixture.complete("w", 0, &[completed(&claimed[0])]).await?;
    for task in tasks {
        assert_eq!(state(&fixture, task).await?, TaskState::Completed);
    }
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_holds").await?, 0);
    check(&fixture, 1).await
}

#[tokio::test]
async fn a_child_task_that_cannot_be_created_gives_back_its_slot_at_once() -> Result<()> {
    for (child, order) in [("nobody", json!({})), ("child", json!("not an object"))] {
        let fixture = Fixture::new().await?;
        let source =
            json!({ "name": "child", "namespace_name": NAMESPACE, "version": "1.0.0", "steps": [step("work", &[])] });
        fixture.engine.apply_template(&tasker_template::parse(&source.to_string(), None)?.template, "test").await?;
        let run = json!({
            "name": "run",
            "task": { "template": child, "context_from": "/order" },
            "concurrency": { "gate": "children", "limit": 1 },
        });
        let template = fixture.store_template(NAMESPACE, json!([run])).await?;
        for n in 0..3 {
            create(&fixture, template, json!({ "order": order })).await?;
            fixture.advance_clock(1).await?;
            // The call that fails the step passes on its slot. So each task that waits needs one call.
            if n == 1 {
                assert!(fixture.claim("w", 10).await?.is_empty());
                check(&fixture, 1).await?;
            }
        }
        for _ in 0..3 {
            assert!(fixture.claim("w", 10).await?.is_empty());
            check(&fixture, 1).await?;
        }
        let states: Vec<String> = fixture.values("select distinct state::text from tasker.steps").await?;
        assert_eq!(states, ["failed"]);
        assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_holds").await?, 0);
        assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_waiters").await?, 0);
    }
    Ok(())
}

/// A step that needs a slot of the only one and a rate of its key, and whose child task cannot be created.
fn run_nobody(spacing_seconds: u32) -> Value {
    json!({
        "name": "run",
        "task": { "template": "nobody", "context_from": "/order" },
        "concurrency": { "gate": "children", "limit": 1 },
        "rate": { "gate": "fast", "key": "/key", "limit": 1, "per_seconds": spacing_seconds },
    })
}

#[tokio::test]
async fn a_waiter_behind_a_failed_child_task_keeps_its_rate() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([run_nobody(10)])).await?;
    let first = create(&fixture, template, json!({ "key": "a", "order": {} })).await?;
    fixture.advance_clock(1).await?;
    let second = create(&fixture, template, json!({ "key": "a", "order": {} })).await?;
    // The first fails and passes its slot on. The second waits for its time.
    for _ in 0..2 {
        assert!(fixture.claim("w", 10).await?.is_empty());
        check(&fixture, 1).await?;
    }
    assert_eq!(state(&fixture, first).await?, TaskState::BlockedByFailures);
    let waits = fixture.engine.explain_gate(second, "run", 100).await?.context("waits for nothing")?;
    assert!(waits.gate == "fast" && waits.starts_at.is_some(), "{waits:?}");
    fixture.advance_clock(9_999).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    assert_eq!(state(&fixture, second).await?, TaskState::Pending);
    fixture.advance_clock(1).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    assert_eq!(state(&fixture, second).await?, TaskState::BlockedByFailures);
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_holds").await?, 0);
    check(&fixture, 1).await
}

#[tokio::test]
async fn a_failed_child_task_that_passes_its_slot_on_cannot_deadlock() -> Result<()> {
    let fixture = Fixture::new().await?;
    let runs = fixture.store_template(NAMESPACE, json!([run_nobody(1)])).await?;
    let rate = json!({ "rate": { "gate": "fast", "key": "/key", "limit": 1, "per_seconds": 1 } });
    let calls = json!({
        "name": "calls", "namespace_name": NAMESPACE, "version": "1.0.0", "steps": [with("call", &[], rate)],
    });
    fixture.engine.apply_template(&tasker_template::parse(&calls.to_string(), None)?.template, "test").await?;
    let calls = fixture.engine.find_template(NAMESPACE, "calls", None).await?.context("not stored")?.template_id;

    let sessions = fixture.sessions(4).await?;
    for (template, key) in [(runs, "b"), (runs, "a"), (calls, "a"), (calls, "b")] {
        create(&sessions, template, json!({ "key": key, "order": {} })).await?;
    }
    let claim = |limit| {
        let engine = sessions.engine.clone();
        tokio::spawn(async move { engine.start_steps("w", &[NAMESPACE.to_owned()], limit, LEASE, &[]).await })
    };
    // The first call reserves the rate of `b`, and stops where it writes history. It will pass its slot to `a`.
    let mut writer = sessions.pool.begin().await?;
    sqlx::query("lock table tasker.transitions in exclusive mode").execute(&mut *writer).await?;
    let first = claim(2);
    wait_for_blocked(&sessions, 1).await?;
    // The second call reserves the rate of `a`, and waits for that of `b`.
    let second = claim(2);
    wait_for_blocked(&sessions, 2).await?;
    writer.commit().await?;
    assert!(first.await??.is_empty());
    assert_eq!(second.await??.len(), 1);
    check(&sessions, 1).await
}

/// Waits until this many sessions wait for a lock.
async fn wait_for_blocked(fixture: &Fixture, sessions: i64) -> Result<()> {
    let began = std::time::Instant::now();
    while fixture
        .value::<i64>("select count(*) from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0")
        .await?
        != sessions
    {
        ensure!(began.elapsed().as_secs() < 60, "no {sessions} sessions wait for a lock");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test]
async fn the_last_template_decides_about_the_limit_unless_an_operator_does() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 1)])).await?;
    create_some(&fixture, template, "a", 9).await?;
    assert_eq!(fixture.claim("w", 10).await?.len(), 1);
    let gate = async || -> Result<Gate> {
        fixture.engine.list_gates(None, Some("account"), 100).await?.pop().context("no gate")
    };
    let found = gate().await?;
    assert_eq!((found.limit, found.holding, found.waiting), (Some(1), 1, 8));
    // Another template of the namespace.
    let source =
        json!({ "name": "other", "namespace_name": NAMESPACE, "version": "1.0.0", "steps": [gated("x", &[], 3)] });
    fixture.engine.apply_template(&tasker_template::parse(&source.to_string(), None)?.template, "test").await?;
    assert_eq!(fixture.engine.tend_gates(100).await?, (0, 1));
    assert_eq!(fixture.claim("w", 10).await?.len(), 2);
    check(&fixture, 3).await?;
    let set = async |limit| -> Result<()> {
        let change = PatchGate { limit: Some(limit), rate: None };
        ensure!(fixture.engine.change_gate(NAMESPACE, "account", &change).await? == GateOutcome::Done);
        Ok(())
    };
    set(Some(5)).await?;
    let running = fixture.claim("w", 10).await?;
    assert_eq!(running.len(), 2);
    // It stays when a template is stored again, and nobody is stopped when it becomes lower.
    set(Some(0)).await?;
    let source =
        json!({ "name": "other", "namespace_name": NAMESPACE, "version": "1.0.1", "steps": [gated("x", &[], 9)] });
    fixture.engine.apply_template(&tasker_template::parse(&source.to_string(), None)?.template, "test").await?;
    for step in &running {
        fixture.complete("w", 0, &[completed(step)]).await?;
    }
    assert_eq!(fixture.engine.tend_gates(100).await?, (0, 0));
    assert!(fixture.claim("w", 10).await?.is_empty());
    let found = gate().await?;
    assert_eq!((found.limit, found.template_limit, found.holding, found.waiting), (Some(0), Some(9), 3, 4));
    set(None).await?;
    assert_eq!(fixture.claim("w", 10).await?.len(), 4);
    assert_eq!(gate().await?.limit, Some(9));
    let outcome = fixture.engine.change_gate(NAMESPACE, "no gate", &PatchGate::default()).await?;
    assert_eq!(outcome, GateOutcome::NotFound);
    check(&fixture, 9).await
}

#[tokio::test]
async fn a_lost_slot_is_found_and_passed_on() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 1)])).await?;
    let tasks = create_some(&fixture, template, "a", 3).await?;
    assert_eq!(fixture.claim("w", 10).await?.len(), 1);
    // Somebody changes rows by hand.
    sqlx::query("update tasker.steps set state = 'cancelled', token = null, due_at = null where task_id = $1")
        .bind(tasks[0])
        .execute(&fixture.pool)
        .await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    assert_eq!(fixture.engine.tend_gates(100).await?, (1, 0));
    let step = fixture.claim_only("w").await?;
    assert_eq!(step.task_id, tasks[1]);
    sqlx::query("delete from tasker.gate_holds").execute(&fixture.pool).await?;
    assert_eq!(fixture.engine.tend_gates(100).await?, (0, 1));
    let step = fixture.claim_only("w").await?;
    assert_eq!(step.task_id, tasks[2]);
    fixture.complete("w", 0, &[completed(&step)]).await?;
    // Keys that are not in use are forgotten.
    assert_eq!(fixture.engine.tend_gates(100).await?, (0, 0));
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.gate_slots").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_worker_looks_again_behind_steps_that_wait() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 1)])).await?;
    create_some(&fixture, template, "a", 4).await?;
    assert_eq!(fixture.claim("w", 1).await?.len(), 1);
    let mut listener = sqlx::postgres::PgListener::connect_with(&fixture.another_session().await?.pool).await?;
    listener.listen("pgmq.q_test.INSERT").await?;
    // A full batch of which no step starts.
    assert!(fixture.claim("w", 2).await?.is_empty());
    let wake_up = tokio::time::timeout(std::time::Duration::from_secs(10), listener.recv()).await??;
    assert_eq!(wake_up.payload(), "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_never_exceed_a_limit_and_never_deadlock() -> Result<()> {
    const TASKS: usize = 240;
    let fixture = Fixture::new().await?;
    let steps = json!([
        with(
            "one",
            &[],
            json!({ "concurrency": { "gate": "one", "key": "/a", "limit": 2 },
                                 "rate": { "gate": "fast", "key": "/b", "limit": 1000, "per_seconds": 1 } })
        ),
        with(
            "two",
            &["one"],
            json!({ "concurrency": { "gate": "two", "key": "/b", "limit": 2 },
                                      "rate": { "gate": "fast", "key": "/a", "limit": 1000, "per_seconds": 1 } })
        ),
    ]);
    let template = fixture.store_template(NAMESPACE, steps).await?;
    let callers = fixture.sessions(8).await?;
    let mut tasks = Vec::new();
    for n in 0..TASKS {
        tasks.push(create(&callers, template, json!({ "a": n % 3, "b": n % 5 })).await?);
    }
    let mut set = tokio::task::JoinSet::new();
    for worker in 0..6 {
        let engine = callers.engine.clone();
        set.spawn(async move {
            let name = format!("w{worker}");
            let namespaces = [NAMESPACE.to_owned()];
            loop {
                let claimed = engine.start_steps(&name, &namespaces, 7, LEASE, &[]).await?;
                let results: Vec<_> = claimed.iter().map(completed).collect();
                engine.complete_steps(&name, &namespaces, 5, LEASE, &results).await?;
                let open = engine.count_tasks(None, 1_000).await?;
                if open.iter().all(|count| count.status.is_final()) {
                    return anyhow::Ok(());
                }
            }
        });
    }
    // Operators end tasks, some of which wait or run.
    let (engine, ended) = (callers.engine.clone(), tasks.iter().copied().step_by(9).collect::<Vec<_>>());
    set.spawn(async move {
        for task in ended {
            engine.operate(task, &Operation::Cancel, None, None).await?;
            engine.tend_gates(10).await?;
        }
        anyhow::Ok(())
    });
    let began = std::time::Instant::now();
    while !set.is_empty() {
        check(&callers, 2).await?;
        ensure!(began.elapsed().as_secs() < 120, "the tasks do not end");
        if let Ok(Some(ended)) = tokio::time::timeout(std::time::Duration::from_millis(20), set.join_next()).await {
            ended??;
        }
    }
    for rows in ["gate_holds", "gate_waiters"] {
        let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from tasker.{rows}")))
            .fetch_one(&callers.pool)
            .await?;
        assert_eq!(left, 0, "{rows}");
    }
    Ok(())
}

#[tokio::test]
async fn rows_read_at_a_gate_do_not_grow_with_its_waiters() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([gated("pay", &[], 1)])).await?;
    create_some(&fixture, template, "a", 40).await?;
    let mut step = fixture.claim("w", 50).await?.pop().context("nothing starts")?;
    for _ in 0..10 {
        fixture.complete("w", 0, &[completed(&step)]).await?;
        step = fixture.claim_only("w").await?;
    }
    for statement in [
        // Those of other keys belong to the task that runs, as the children of a map do.
        "insert into tasker.gate_waiters (task_id, step_no, gate_id, key, since, visible_at)
         select case when n % 2 = 0 then gen_random_uuid() else h.task_id end, n, h.gate_id,
                case when n % 2 = 0 then 'a' else n::text end, tasker.now(), tasker.now()
         from generate_series(1, 29999) n, tasker.gate_holds h",
        "insert into tasker.gate_slots (gate_id, key, holds)
         select gate_id, n::text, 1 from generate_series(1, 50000) n, tasker.gates",
        "insert into tasker.gate_holds (task_id, step_no, gate_id, key, held_at)
         select gen_random_uuid(), 0, gate_id, n::text, tasker.now() from generate_series(1, 50000) n, tasker.gates",
    ] {
        sqlx::query(statement).execute(&fixture.pool).await?;
    }
    let mut transaction = fixture.pool.begin().await?;
    let before = rows_read(&mut transaction).await?;
    let token = step.step_ref();
    sqlx::query(
        "select tasker.complete_steps('w', array['test'], 0, '30 s', array[
             ('test', $1, $2, 0, $3, 'completed', '{}')::tasker.step_result])",
    )
    .bind(token.msg_id)
    .bind(token.task_id)
    .bind(token.token)
    .execute(&mut *transaction)
    .await?;
    let completed = rows_read(&mut transaction).await?;
    let started =
        sqlx::query("select * from tasker.start_steps('w', array['test'], array[null]::interval[], 10, '30 s')")
            .fetch_all(&mut *transaction)
            .await?;
    assert_eq!(started.len(), 1);
    let claimed = rows_read(&mut transaction).await?;
    assert_eq!(claimed.0, before.0, "a table was scanned");
    assert!(completed.1 - before.1 < 60, "completing fetched {} rows", completed.1 - before.1);
    assert!(claimed.1 - completed.1 < 60, "starting fetched {} rows", claimed.1 - completed.1);
    Ok(())
}

/// The rows of gates, tasks and steps that this session has read by sequential scans and by index scans.
async fn rows_read(connection: &mut sqlx::PgConnection) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "select coalesce(sum(seq_tup_read), 0)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint
         from pg_stat_xact_user_tables
         where relname in ('gate_slots', 'gate_holds', 'gate_waiters', 'gate_rates', 'tasks', 'steps', 'q_test')",
    )
    .fetch_one(connection)
    .await?)
}
