//! The queue is not trusted, and keeps its order.

use anyhow::Result;
use serde_json::json;

use crate::bench::{Bench, NAMESPACE, completed, step};

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
async fn waking_is_one_notification_per_statement_and_none_for_hidden_messages() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let mut listener = sqlx::postgres::PgListener::connect_with(&fresh_pool(&bench).await?).await?;
    listener.listen("pgmq.q_bench.INSERT").await?;
    bench.task(template).await?;
    listener.recv().await?;
    let a = bench.start_one("w").await?;
    // b is handed to the worker: its message is hidden, and nobody is woken.
    bench.finish("w", 1, &[completed(&a)]).await?;
    sqlx::query("select pg_notify('pgmq.q_bench.INSERT', 'the end')").execute(&bench.pool).await?;
    assert_eq!(listener.recv().await?.payload(), "the end");
    Ok(())
}

async fn fresh_pool(bench: &Bench) -> Result<sqlx::PgPool> {
    Ok(sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .connect_with((*bench.pool.connect_options()).clone())
        .await?)
}
