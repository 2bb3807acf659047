//! The queue is not trusted, and keeps its order.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::bench::{Bench, LEASE, NAMESPACE, completed, failed, step};

#[tokio::test]
async fn messages_that_name_no_step_are_set_aside_and_the_queue_goes_on() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    for poison in [
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
        sqlx::query("insert into pgmq.q_bench (vt, message) values ('2029-12-31', $1::jsonb)")
            .bind(poison)
            .execute(&bench.pool)
            .await?;
    }
    sqlx::query("insert into pgmq.q_bench (vt, message) values ('2029-12-31', null)").execute(&bench.pool).await?;
    // Well formed, but there is no such step: nothing to keep.
    sqlx::query(
        r#"insert into pgmq.q_bench (vt, message)
           values ('2029-12-31', '{"task_id": "01890000-0000-7000-8000-000000000001", "step_no": 3}')"#,
    )
    .execute(&bench.pool)
    .await?;
    let task = bench.task(template).await?;
    assert_eq!(bench.start_one("w").await.map(|step| step.task_id)?, task);
    assert_eq!(bench.value::<i64>("select count(*) from tasker.rejected_messages where reason <> ''").await?, 11);
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_second_message_for_a_step_starts_nothing() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    bench.task(template).await?;
    for _ in 0..2 {
        sqlx::query(
            "insert into pgmq.q_bench (vt, message) select vt, message from pgmq.q_bench order by msg_id limit 1",
        )
        .execute(&bench.pool)
        .await?;
    }
    let held = bench.start_one("w").await?;
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 1);
    // And one that comes while the step runs is put off until the lease ends.
    sqlx::query("insert into pgmq.q_bench (vt, message) select '2029-12-31', message from pgmq.q_bench")
        .execute(&bench.pool)
        .await?;
    assert_eq!(bench.start("w", 10).await?, []);
    bench.finish("w", 0, &[completed(&held)]).await?;
    bench.pass(60_000).await?;
    assert_eq!(bench.start("w", 10).await?, []);
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 0);
    Ok(())
}

#[tokio::test]
async fn steps_are_taken_oldest_first_and_a_point_of_priority_is_worth_ten_seconds() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let old = bench.task(template).await?;
    bench.pass(15_000).await?;
    let new = bench.task(template).await?;
    let urgent = bench.task_with_priority(template, 2).await?;
    let hardly_urgent = bench.task_with_priority(template, 1).await?;
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(bench.start_one_of("w").await?.task_id);
    }
    assert_eq!(order, [urgent, old, hardly_urgent, new]);
    Ok(())
}

#[tokio::test]
async fn a_claim_takes_no_more_than_its_limit_however_long_the_queue() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let first = bench.task(template).await?;
    // Steps by the thousand, as many tasks would bring them.
    sqlx::query(
        "insert into tasker.tasks (task_id, template_id, created_at, state, priority, total_steps, active_steps, namespace, context)
         select gen_random_uuid(), template_id, created_at, state, priority, total_steps, active_steps, namespace, context
         from tasker.tasks, generate_series(1, 5000)",
    )
    .execute(&bench.pool)
    .await?;
    sqlx::query(
        "insert into tasker.steps (task_id, step_no, pending_dependencies, state)
         select task_id, 0, 0, 'enqueued' from tasker.tasks where task_id <> $1",
    )
    .bind(first)
    .execute(&bench.pool)
    .await?;
    let enqueue = "select count(*) from (
        select tasker.enqueue(array_agg('bench'::text), array_agg(task_id), array_agg(0::smallint), array_agg(tasker.now()))
        from tasker.tasks) put";
    // With statistics from when the queue was empty: the planner takes it for short.
    for statement in [enqueue, "delete from pgmq.q_bench", "vacuum analyze pgmq.q_bench", enqueue] {
        sqlx::query(statement).execute(&bench.pool).await?;
    }
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 5001);
    for _ in 0..3 {
        assert_eq!(bench.start("w", 100).await?.len(), 100);
    }
    Ok(())
}

#[tokio::test]
async fn a_claim_looks_back_as_far_as_it_is_told() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let old = bench.task(template).await?;
    bench.pass(5_000).await?;
    let new = bench.task(template).await?;
    let namespaces = [NAMESPACE.to_owned()];
    let recent = [Some(Duration::from_secs(2))];
    let steps = bench.engine.start_steps("w", &namespaces, 10, LEASE, &recent).await?;
    assert_eq!(steps.iter().map(|step| (step.task_id, step.waited_seconds)).collect::<Vec<_>>(), [(new, Some(0.0))]);
    let steps = bench.engine.start_steps("w", &namespaces, 10, LEASE, &[None]).await?;
    assert_eq!(steps.iter().map(|step| (step.task_id, step.waited_seconds)).collect::<Vec<_>>(), [(old, Some(5.0))]);
    Ok(())
}

#[tokio::test]
async fn a_result_that_names_the_message_of_another_step_takes_nothing_from_it() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &[])])).await?;
    bench.task(template).await?;
    let steps = bench.start("w", 2).await?;
    let (a, b) = (&steps[0], &steps[1]);
    let mut mixed_up = completed(a);
    mixed_up.step.msg_id = b.msg_id;
    assert_eq!(bench.finish("w", 0, &[mixed_up]).await?.refused, []);
    // The worker dies: b starts again, and the message that a has left behind goes.
    bench.pass(30_000).await?;
    assert_eq!(bench.start_one("w").await?.step_name, "b");
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_retry_is_on_time_although_somebody_has_its_message_locked() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    bench.task(template).await?;
    let a = bench.start_one("w").await?;
    let other = fresh_pool(&bench).await?;
    let mut reader = other.begin().await?;
    sqlx::query("select from pgmq.q_bench for update").execute(&mut *reader).await?;
    bench.finish("w", 0, &[failed(&a)]).await?;
    reader.rollback().await?;
    bench.pass(1_000).await?;
    let again = bench.start_one("w").await?;
    assert_eq!(again.attempt, 2);
    bench.finish("w", 0, &[completed(&again)]).await?;
    // The first message comes when the first lease ends, and goes.
    bench.pass(30_000).await?;
    assert_eq!(bench.start("w", 10).await?, []);
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 0);
    Ok(())
}

#[tokio::test]
async fn waking_is_one_notification_per_statement_and_none_for_hidden_messages() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let mut listener = sqlx::postgres::PgListener::connect_with(&fresh_pool(&bench).await?).await?;
    listener.listen("pgmq.q_bench.INSERT").await?;
    bench.task(template).await?;
    assert_eq!(listener.recv().await?.payload(), "0");
    let a = bench.start_one("w").await?;
    // b is handed to the worker: its message is hidden, and nobody is woken.
    bench.finish("w", 1, &[completed(&a)]).await?;
    // The payload tells how long ago its message became visible: a point of priority is ten seconds.
    bench.task_with_priority(template, 3).await?;
    assert_eq!(listener.recv().await?.payload(), "30");
    Ok(())
}

async fn fresh_pool(bench: &Bench) -> Result<sqlx::PgPool> {
    Ok(tasker_engine::database::pool_options()
        .max_connections(1)
        .connect_with((*bench.pool.connect_options()).clone())
        .await?)
}
