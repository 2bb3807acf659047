//! Domain events: published with the outcome of a step, in the queue of their namespace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tasker_api::StepState;
use tasker_engine::{ClaimedStep, Failure, Operation, StepOutcome, StepResult};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, completed, step};

/// A step that publishes an event for each condition, named after it.
fn publishing(name: &str, dependencies: &[&str]) -> Value {
    let mut step = step(name, dependencies);
    let conditions = ["success", "failure", "retryable_failure", "permanent_failure", "always"];
    step["publishes_events"] =
        conditions.map(|condition| json!({ "name": format!("{name}.{condition}"), "condition": condition })).into();
    step
}

fn failed(step: &ClaimedStep, permanent: bool) -> StepResult {
    let error = json!({ "kind": "test", "message": "intended failure" });
    let outcome = if permanent { StepOutcome::PermanentError(error) } else { StepOutcome::RetryableError(error) };
    StepResult { step: step.step_ref(), outcome }
}

/// The events in the queue, oldest first. Removes them.
async fn take(fixture: &Fixture) -> Result<Vec<Value>> {
    fixture
        .values(
            "with read as (select msg_id, message from pgmq.read('test_domain_events', 30, 1000)),
                      gone as (select pgmq.delete('test_domain_events', array(select msg_id from read)))
                 select message from read where (select count(*) from gone) >= 0 order by msg_id",
        )
        .await
}

/// The names of the events in the queue, sorted. Removes them.
async fn names(fixture: &Fixture) -> Result<Vec<String>> {
    let mut names: Vec<String> =
        take(fixture).await?.iter().map(|event| event["event_name"].as_str().unwrap_or_default().to_owned()).collect();
    names.sort();
    Ok(names)
}

async fn started(fixture: &Fixture, steps: Value) -> Result<Uuid> {
    fixture.create_task(fixture.store_template(NAMESPACE, steps).await?).await
}

#[tokio::test]
async fn an_event_has_the_result_of_its_step_and_where_it_comes_from() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut paid = step("pay", &[]);
    paid["publishes_events"] = json!([{ "name": "order.paid" }]);
    let task = started(&fixture, json!([paid, step("ship", &["pay"])])).await?;
    let pay = fixture.claim_only("w").await?;
    assert_eq!(take(&fixture).await?, Vec::<Value>::new());
    fixture.complete("w", 1, &[completed(&pay)]).await?;
    let events = take(&fixture).await?;
    let [event] = &events[..] else { anyhow::bail!("expected one event: {events:?}") };
    assert_eq!(
        event,
        &json!({
            "event_id": event["event_id"], "event_name": "order.paid", "outcome": "completed",
            "payload": { "done": "pay" },
            "metadata": {
                "task_uuid": task, "namespace": NAMESPACE, "template": "t", "template_version": "1.0.0",
                "step_name": "pay", "attempt": 1, "fired_at": "2030-01-01T00:00:00.000000Z",
            },
        })
    );
    ensure!(event["event_id"].as_str().is_some_and(|id| id.parse::<Uuid>().is_ok()), "{event}");
    Ok(())
}

#[tokio::test]
async fn each_outcome_publishes_the_events_of_its_conditions() -> Result<()> {
    let fixture = Fixture::new().await?;
    let task = started(&fixture, json!([publishing("a", &[])])).await?;
    let a = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[failed(&a, false)]).await?;
    assert_eq!(names(&fixture).await?, ["a.always", "a.failure", "a.retryable_failure"]);
    fixture.advance_clock(2_000).await?;
    let a = fixture.claim_only("w").await?;
    // A result that is refused publishes nothing, and neither does a step that is returned.
    let refused = StepResult { step: tasker_engine::StepRef { token: Uuid::nil(), ..a.step_ref() }, ..completed(&a) };
    fixture.complete("w", 0, &[refused]).await?;
    fixture.complete("w", 0, &[StepResult { step: a.step_ref(), outcome: StepOutcome::Released }]).await?;
    assert_eq!(names(&fixture).await?, Vec::<String>::new());
    let a = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[failed(&a, true)]).await?;
    let events = take(&fixture).await?;
    assert_eq!(
        events.iter().map(|event| &event["event_name"]).collect::<Vec<_>>(),
        ["a.failure", "a.permanent_failure", "a.always"]
    );
    ensure!(
        events.iter().all(|event| event["payload"]["kind"] == "test" && event["outcome"] == "failed"),
        "{events:?}"
    );
    // An operator gives it a result.
    fixture.engine.operate(task, &Operation::Resolve { step: "a".into(), result: json!(7) }, None, None).await?;
    let events = take(&fixture).await?;
    assert_eq!(
        events.iter().map(|event| (&event["event_name"], &event["outcome"], &event["payload"])).collect::<Vec<_>>(),
        [
            (&json!("a.success"), &json!("resolved_manually"), &json!(7)),
            (&json!("a.always"), &json!("resolved_manually"), &json!(7)),
        ]
    );
    Ok(())
}

#[tokio::test]
async fn steps_that_fail_without_their_handler_publish_too() -> Result<()> {
    let fixture = Fixture::new().await?;
    let failures =
        |name: &str| ["always", "failure", "permanent_failure"].map(|condition| format!("{name}.{condition}")).to_vec();
    // Its last attempt was lost with its worker.
    let mut lost = publishing("lost", &[]);
    lost["retry"] = json!({ "limit": 1 });
    started(&fixture, json!([lost])).await?;
    fixture.claim_only("w").await?;
    fixture.advance_clock(60_000).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    assert_eq!(names(&fixture).await?, failures("lost"));

    let fixture = Fixture::new().await?;
    let mut waits = publishing("waits", &[]);
    waits["wait"] = json!({ "signal": "go", "timeout_seconds": 1 });
    let mut child = publishing("child", &[]);
    child["task"] = json!({ "template": "nobody" });
    let mut map = publishing("map", &["list"]);
    map["map"] = json!({ "step": "list" });
    let mut unlucky = publishing("unlucky", &["list"]);
    unlucky["when"] = json!([{ "step": "list", "pointer": "/x", "exists": true }]);
    started(&fixture, json!([waits, child, step("list", &[]), map, unlucky])).await?;
    assert_eq!(names(&fixture).await?, failures("child"));
    let list = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[completed(&list)]).await?;
    assert_eq!(names(&fixture).await?, failures("map"), "a step that is skipped publishes nothing");
    fixture.advance_clock(2_000).await?;
    assert!(fixture.claim("w", 10).await?.is_empty());
    assert_eq!(names(&fixture).await?, failures("waits"));
    Ok(())
}

#[tokio::test]
async fn events_are_shown_without_taking_them() -> Result<()> {
    let fixture = Fixture::new().await?;
    let shown = async |after, limit| -> Result<Vec<(i64, i32)>> {
        let events = fixture.engine.list_events(NAMESPACE, after, limit).await?;
        Ok(events.into_iter().map(|event| (event.msg_id, event.reads)).collect())
    };
    fixture.store_template("other", json!([step("a", &[])])).await?;
    assert_eq!(fixture.engine.list_events("other", None, 10).await?, [], "a namespace without events");
    let mut paid = step("pay", &[]);
    paid["publishes_events"] = json!([{ "name": "order.paid" }]);
    let template = fixture.store_template(NAMESPACE, json!([paid])).await?;
    assert_eq!(shown(None, 10).await?, []);
    for _ in 0..4 {
        fixture.create_task(template).await?;
        let pay = fixture.claim_only("w").await?;
        fixture.complete("w", 0, &[completed(&pay)]).await?;
    }
    assert_eq!(shown(None, 2).await?, [(3, 0), (4, 0)]);
    assert_eq!(shown(Some(1), 2).await?, [(2, 0), (3, 0)]);
    assert_eq!(shown(Some(4), 2).await?, []);
    assert_eq!(fixture.engine.list_events(NAMESPACE, None, 1).await?[0].event["event_name"], "order.paid");
    // All are still there for the programs that read them. Then there are none.
    assert_eq!(take(&fixture).await?.len(), 4);
    assert_eq!(shown(None, 10).await?, []);
    Ok(())
}

#[tokio::test]
async fn the_children_of_a_group_publish_and_the_group_does_not() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut each = step("each", &["list"]);
    each["map"] = json!({ "step": "list", "parallelism": 2 });
    each["publishes_events"] = json!([{ "name": "each.done" }]);
    started(&fixture, json!([step("list", &[]), each])).await?;
    let list = fixture.claim_only("w").await?;
    let three = StepResult { step: list.step_ref(), outcome: StepOutcome::Completed(json!([1, 2, 3])) };
    fixture.complete("w", 0, &[three]).await?;
    loop {
        let claimed = fixture.claim("w", 10).await?;
        if claimed.is_empty() {
            break;
        }
        fixture.complete("w", 0, &claimed.iter().map(completed).collect::<Vec<_>>()).await?;
    }
    let steps: Vec<_> = take(&fixture).await?.iter().map(|event| event["metadata"]["step_name"].clone()).collect();
    assert_eq!(steps, ["each_0", "each_1", "each_2"]);
    let states = fixture.values::<String>("select state::text from tasker.steps").await?;
    assert!(states.iter().all(|state| state == StepState::Completed.as_str()), "{states:?}");
    Ok(())
}

#[tokio::test]
async fn an_event_exists_only_with_its_outcome() -> Result<()> {
    let fixture = Fixture::new().await?;
    started(&fixture, json!([publishing("a", &[])])).await?;
    let a = fixture.claim_only("w").await?;
    // Without the queue, the outcome cannot be recorded either.
    sqlx::query("alter table pgmq.q_test_domain_events rename to elsewhere").execute(&fixture.pool).await?;
    let refused = fixture.complete("w", 0, &[completed(&a)]).await;
    assert!(refused.is_err());
    let state: String = fixture.value("select state::text from tasker.steps").await?;
    assert_eq!(state, "in_progress");
    sqlx::query("alter table pgmq.elsewhere rename to q_test_domain_events").execute(&fixture.pool).await?;
    fixture.complete("w", 0, &[completed(&a)]).await?;
    assert_eq!(names(&fixture).await?, ["a.always", "a.success"]);
    Ok(())
}

#[tokio::test]
async fn old_events_are_deleted_whether_somebody_has_read_them_or_not() -> Result<()> {
    let fixture = Fixture::new().await?;
    assert_eq!(fixture.engine.delete_old_events(NAMESPACE, Duration::ZERO, 10).await?, 0, "there is no queue");
    let template = fixture.store_template(NAMESPACE, json!([publishing("a", &[])])).await?;
    for _ in 0..2 {
        fixture.create_task(template).await?;
        let a = fixture.claim_only("w").await?;
        fixture.complete("w", 0, &[completed(&a)]).await?;
        fixture.advance_clock(3_600_000).await?;
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(fixture.engine.delete_old_events(NAMESPACE, 2 * hour, 10).await?, 0);
    fixture.advance_clock(1).await?;
    assert_eq!(fixture.engine.delete_old_events(NAMESPACE, 2 * hour, 1).await?, 1);
    assert_eq!(fixture.engine.delete_old_events(NAMESPACE, 2 * hour, 10).await?, 1);
    assert_eq!(names(&fixture).await?, ["a.always", "a.success"], "those of the second task");
    Ok(())
}

#[tokio::test]
async fn a_role_with_few_rights_reads_the_queue() -> Result<()> {
    let fixture = Fixture::new().await?;
    started(&fixture, json!([publishing("a", &[])])).await?;
    let a = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[completed(&a)]).await?;
    // As docs/workflows.md says.
    sqlx::raw_sql(
        "create role my_consumer;
         grant usage on schema pgmq to my_consumer;
         grant select, update, delete on pgmq.q_test_domain_events to my_consumer;
         set role my_consumer",
    )
    .execute(&fixture.pool)
    .await?;
    assert_eq!(names(&fixture).await?, ["a.always", "a.success"]);
    Ok(())
}

#[tokio::test]
async fn two_namespaces_cannot_need_the_same_queue() -> Result<()> {
    let fixture = Fixture::new().await?;
    let refusal = async |namespace: &str, steps: Value| -> Result<String> {
        let error = fixture.store_template(namespace, steps).await.err().context("it was stored")?;
        let error = error.downcast::<sqlx::Error>()?;
        assert_eq!(Failure::of(&error), Failure::BadData);
        Ok(tasker_engine::message(&error))
    };
    fixture.store_template("orders", json!([publishing("a", &[])])).await?;
    let message = refusal("orders_domain_events", json!([step("a", &[])])).await?;
    ensure!(message.contains("holds the events of another namespace"), "{message}");
    fixture.store_template("bills_domain_events", json!([step("a", &[])])).await?;
    let message = refusal("bills", json!([publishing("a", &[])])).await?;
    ensure!(message.contains("the events of namespace bills need the queue bills_domain_events"), "{message}");
    // Other templates of both can be stored.
    fixture.store_template("bills", json!([step("a", &[])])).await?;
    Ok(())
}
