//! The queue: bad and duplicate messages, order, limits and notifications.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::fixture::{Fixture, LEASE, NAMESPACE, completed, failed, step};

#[tokio::test]
async fn malformed_messages_are_rejected_and_do_not_block_the_queue() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    for malformed in [
        "null",
        "7",
        "[]",
        "{}",
        r#""text""#,
        r#"{"task_id": "x", "step_no": 0}"#,
        r#"{"task_id": "01890000-0000-7000-8000-000000000001", "step_no": 99999}"#,
        r#"{"task_id": "01890000-0000-7000-8000-000000000001", "step_no": -1}"#,
        r#"{"task_id": "01890000-0000-7000-8000-000000000001", "step_no": 1.5}"#,
        r#"{"task_id": "01890000-0000-7000-8000-000000000001"}"#,
    ] {
        sqlx::query("insert into pgmq.q_test (vt, message) values ('2029-12-31', $1::jsonb)")
            .bind(malformed)
            .execute(&fixture.pool)
            .await?;
    }
    sqlx::query("insert into pgmq.q_test (vt, message) values ('2029-12-31', null)").execute(&fixture.pool).await?;
    // This one is well formed, but its step does not exist. It is deleted and not recorded.
    sqlx::query(
        r#"insert into pgmq.q_test (vt, message)
           values ('2029-12-31', '{"task_id": "01890000-0000-7000-8000-000000000001", "step_no": 3}')"#,
    )
    .execute(&fixture.pool)
    .await?;
    let task = fixture.create_task(template).await?;
    assert_eq!(fixture.claim_only("w").await.map(|step| step.task_id)?, task);
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.rejected_messages where reason <> ''").await?, 11);
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_duplicate_message_for_a_step_starts_nothing() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    fixture.create_task(template).await?;
    for _ in 0..2 {
        sqlx::query(
            "insert into pgmq.q_test (vt, message) select vt, message from pgmq.q_test order by msg_id limit 1",
        )
        .execute(&fixture.pool)
        .await?;
    }
    let held = fixture.claim_only("w").await?;
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 1);
    // A message that arrives while the step runs is hidden until the lease expires.
    sqlx::query("insert into pgmq.q_test (vt, message) select '2029-12-31', message from pgmq.q_test")
        .execute(&fixture.pool)
        .await?;
    assert_eq!(fixture.claim("w", 10).await?, []);
    fixture.complete("w", 0, &[completed(&held)]).await?;
    fixture.advance_clock(60_000).await?;
    assert_eq!(fixture.claim("w", 10).await?, []);
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 0);
    Ok(())
}

#[tokio::test]
async fn steps_start_oldest_first_and_a_point_of_priority_counts_as_ten_seconds() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let old = fixture.create_task(template).await?;
    fixture.advance_clock(15_000).await?;
    let new = fixture.create_task(template).await?;
    let urgent = fixture.create_task_with_priority(template, 2).await?;
    let less_urgent = fixture.create_task_with_priority(template, 1).await?;
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(fixture.claim_first("w").await?.task_id);
    }
    assert_eq!(order, [urgent, old, less_urgent, new]);
    Ok(())
}

#[tokio::test]
async fn a_claim_keeps_its_limit_on_a_long_queue() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let first = fixture.create_task(template).await?;
    // Add thousands of tasks of one step.
    sqlx::query(
        "insert into tasker.tasks (task_id, template_id, created_at, state, priority, total_steps, active_steps,
                                   namespace, context)
         select gen_random_uuid(), template_id, created_at, state, priority, total_steps, active_steps,
                namespace, context
         from tasker.tasks, generate_series(1, 5000)",
    )
    .execute(&fixture.pool)
    .await?;
    sqlx::query(
        "insert into tasker.steps (task_id, step_no, pending_dependencies, state)
         select task_id, 0, 0, 'enqueued' from tasker.tasks where task_id <> $1",
    )
    .bind(first)
    .execute(&fixture.pool)
    .await?;
    let enqueue = "select count(*) from (
        select tasker.enqueue(array_agg('test'::text), array_agg(task_id), array_agg(0::smallint),
                              array_agg(tasker.now()))
        from tasker.tasks) enqueued";
    // The statistics are from the empty queue, so the planner expects few messages.
    for statement in [enqueue, "delete from pgmq.q_test", "vacuum analyze pgmq.q_test", enqueue] {
        sqlx::query(statement).execute(&fixture.pool).await?;
    }
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 5001);
    for _ in 0..3 {
        assert_eq!(fixture.claim("w", 100).await?.len(), 100);
    }
    Ok(())
}

#[tokio::test]
async fn a_claim_searches_only_as_far_back_as_requested() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let old = fixture.create_task(template).await?;
    fixture.advance_clock(5_000).await?;
    let new = fixture.create_task(template).await?;
    let namespaces = [NAMESPACE.to_owned()];
    let recent = [Some(Duration::from_secs(2))];
    let steps = fixture.engine.start_steps("w", &namespaces, 10, LEASE, &recent).await?;
    assert_eq!(steps.iter().map(|step| (step.task_id, step.waited_seconds)).collect::<Vec<_>>(), [(new, Some(0.0))]);
    let steps = fixture.engine.start_steps("w", &namespaces, 10, LEASE, &[None]).await?;
    assert_eq!(steps.iter().map(|step| (step.task_id, step.waited_seconds)).collect::<Vec<_>>(), [(old, Some(5.0))]);
    Ok(())
}

#[tokio::test]
async fn a_result_cannot_delete_the_message_of_another_step() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &[])])).await?;
    fixture.create_task(template).await?;
    let steps = fixture.claim("w", 2).await?;
    let (a, b) = (&steps[0], &steps[1]);
    let mut mixed_up = completed(a);
    mixed_up.step.msg_id = b.msg_id;
    assert_eq!(fixture.complete("w", 0, &[mixed_up]).await?.refused, []);
    // The worker dies. b starts again, and the remaining message of a is deleted.
    fixture.advance_clock(30_000).await?;
    assert_eq!(fixture.claim_only("w").await?.step_name, "b");
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_retry_is_on_time_even_if_its_message_is_locked() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    fixture.create_task(template).await?;
    let a = fixture.claim_only("w").await?;
    let other = fresh_pool(&fixture).await?;
    let mut reader = other.begin().await?;
    sqlx::query("select from pgmq.q_test for update").execute(&mut *reader).await?;
    fixture.complete("w", 0, &[failed(&a)]).await?;
    reader.rollback().await?;
    fixture.advance_clock(1_000).await?;
    let again = fixture.claim_only("w").await?;
    assert_eq!(again.attempt, 2);
    fixture.complete("w", 0, &[completed(&again)]).await?;
    // The first message becomes visible when the first lease expires. It is deleted.
    fixture.advance_clock(30_000).await?;
    assert_eq!(fixture.claim("w", 10).await?, []);
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 0);
    Ok(())
}

#[tokio::test]
async fn each_statement_sends_one_notification_and_none_for_hidden_messages() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let mut listener = sqlx::postgres::PgListener::connect_with(&fresh_pool(&fixture).await?).await?;
    listener.listen("pgmq.q_test.INSERT").await?;
    fixture.create_task(template).await?;
    assert_eq!(listener.recv().await?.payload(), "0");
    let a = fixture.claim_only("w").await?;
    // b is handed to the worker. Its message is hidden, so there is no notification.
    fixture.complete("w", 1, &[completed(&a)]).await?;
    // The payload is the age of the oldest visible message in seconds. A point of priority counts as ten seconds.
    fixture.create_task_with_priority(template, 3).await?;
    assert_eq!(listener.recv().await?.payload(), "30");
    Ok(())
}

async fn fresh_pool(fixture: &Fixture) -> Result<sqlx::PgPool> {
    Ok(tasker_engine::database::pool_options()
        .max_connections(1)
        .connect_with((*fixture.pool.connect_options()).clone())
        .await?)
}
