//! Retention: old final tasks are deleted with all their rows. Young, running and blocked tasks are retained.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sqlx::AssertSqlSafe;
use tasker_engine::database::pool_options;
use tasker_engine::{CreateOutcome, DeletedTasks, Engine, NewTask, Operation, StepOutcome, StepResult};
use uuid::Uuid;

use crate::fixture::{Fixture, NAMESPACE, completed, failed, step};

const DAY_MS: i64 = 24 * 3600 * 1000;
const TEN_DAYS: Duration = Duration::from_secs(10 * 24 * 3600);

/// The sorted ids of the tasks that have rows in a table.
async fn tasks_in(fixture: &Fixture, table: &str) -> Result<Vec<Uuid>> {
    let query = format!("select distinct task_id from tasker.{table} order by 1");
    Ok(sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&fixture.pool).await?)
}

/// Claims and completes steps until none is available.
async fn run_available_steps(fixture: &Fixture) -> Result<()> {
    loop {
        let steps = fixture.claim("w", 50).await?;
        if steps.is_empty() {
            return Ok(());
        }
        fixture.complete("w", 0, &steps.iter().map(completed).collect::<Vec<_>>()).await?;
    }
}

#[tokio::test]
async fn old_final_tasks_are_deleted_and_all_others_are_retained() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let other = fixture.store_template("other", json!([step("a", &[])])).await?;
    let failed_permanently = |step: &_| {
        let StepResult { step, .. } = failed(step);
        StepResult {
            step,
            outcome: StepOutcome::PermanentError(json!({ "kind": "test", "message": "intended failure" })),
        }
    };

    let mut old = Vec::new();
    old.push(fixture.create_task(template).await?);
    run_available_steps(&fixture).await?;
    let cancelled = fixture.create_task(template).await?;
    fixture.engine.operate(cancelled, &Operation::Cancel, None, None).await?;
    old.push(cancelled);
    let failed_by_operator = fixture.create_task(template).await?;
    let first = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[failed_permanently(&first)]).await?;
    fixture.engine.operate(failed_by_operator, &Operation::Fail, None, None).await?;
    old.push(failed_by_operator);

    let mut retained = Vec::new();
    retained.push(fixture.create_task(template).await?);
    let first = fixture.claim_only("w").await?;
    fixture.complete("w", 0, &[failed_permanently(&first)]).await?;
    ensure!(fixture.value::<i64>("select count(*) from tasker.tasks where state = 'blocked_by_failures'").await? == 1);
    retained.push(fixture.create_task(template).await?);
    fixture.claim_only("w").await?;
    retained.push(fixture.create_task(template).await?);
    retained.push(fixture.create_task(other).await?);
    fixture.engine.operate(retained[3], &Operation::Cancel, None, None).await?;
    fixture.advance_clock(9 * DAY_MS).await?;
    // This task becomes final nine days after the others.
    let late = fixture.create_task(template).await?;
    fixture.engine.operate(late, &Operation::Cancel, None, None).await?;
    retained.push(late);

    let nothing = DeletedTasks { tasks: 0, steps: 0, transitions: 0, next: None };
    assert_eq!(fixture.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?, nothing);
    fixture.advance_clock(DAY_MS + 1).await?;
    let transitions_before = fixture.value::<i64>("select count(*) from tasker.transitions").await?;
    let deleted = fixture.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?;
    let transitions_after = fixture.value::<i64>("select count(*) from tasker.transitions").await?;
    assert_eq!(
        deleted,
        DeletedTasks { tasks: 3, steps: 6, transitions: transitions_before - transitions_after, next: None }
    );
    retained.sort();
    for table in ["tasks", "steps", "transitions"] {
        assert_eq!(tasks_in(&fixture, table).await?, retained, "{table}");
    }
    assert_eq!(fixture.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?, nothing);
    assert_eq!(fixture.engine.delete_finished_tasks("other", TEN_DAYS, None, 100).await?.tasks, 1);

    // The retained tasks can complete. The messages of deleted tasks find no steps, and the lease of the running step
    // has expired.
    fixture.engine.operate(retained[0], &Operation::Retry { step: None }, None, None).await?;
    run_available_steps(&fixture).await?;
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.tasks where state = 'completed'").await?, 3);
    assert_eq!(fixture.value::<i64>("select count(*) from pgmq.q_test").await?, 0);
    for task in old {
        assert_eq!(fixture.engine.get_task(task, true).await?, None);
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_task_frees_its_idempotency_key() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let task =
        |hash: u8| NewTask { idempotency: Some(("key".to_owned(), vec![hash])), ..NewTask::new(template, json!({})) };
    let outcome = fixture.engine.create_tasks(&[task(1)]).await?;
    assert!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
    run_available_steps(&fixture).await?;
    fixture.advance_clock(11 * DAY_MS).await?;
    let outcome = fixture.engine.create_tasks(&[task(2)]).await?;
    assert!(matches!(outcome[..], [CreateOutcome::Conflict(_)]), "{outcome:?}");
    assert_eq!(fixture.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?.tasks, 1);
    let outcome = fixture.engine.create_tasks(&[task(2)]).await?;
    assert!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_batch_is_limited_and_returns_where_to_continue() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let mut tasks = Vec::new();
    for _ in 0..7 {
        tasks.push(fixture.create_task(template).await?);
    }
    run_available_steps(&fixture).await?;
    fixture.advance_clock(11 * DAY_MS).await?;
    let mut after = None;
    let mut batches = Vec::new();
    loop {
        let DeletedTasks { tasks, next, .. } =
            fixture.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, after, 3).await?;
        batches.push((tasks, next));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(batches, [(3, Some(tasks[2])), (3, Some(tasks[5])), (1, None)]);
    Ok(())
}

/// Records a message as rejected now.
async fn insert_rejected_message(fixture: &Fixture) -> Result<()> {
    sqlx::query(
        "insert into tasker.rejected_messages (queue, msg_id, reason, rejected_at) values ('q', 1, 'r', tasker.now())",
    )
    .execute(&fixture.pool)
    .await?;
    Ok(())
}

/// An engine with a session of its own. It has the fixture's time and fails instead of waiting for a lock.
async fn engine_without_lock_waits(fixture: &Fixture) -> Result<Engine> {
    let now: String = fixture.value("select current_setting('tasker.now')").await?;
    let options =
        (*fixture.pool.connect_options()).clone().options([("tasker.now", now.as_str()), ("lock_timeout", "1")]);
    Ok(Engine::new(pool_options().max_connections(1).connect_with(options).await?))
}

#[tokio::test]
async fn deletion_neither_waits_for_locks_nor_blocks_work() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(fixture.create_task(template).await?);
    }
    run_available_steps(&fixture).await?;
    insert_rejected_message(&fixture).await?;
    fixture.advance_clock(11 * DAY_MS).await?;
    let one = engine_without_lock_waits(&fixture).await?;
    let two = engine_without_lock_waits(&fixture).await?;

    // A locked task is skipped. A later call deletes it.
    let mut locking = fixture.pool.begin().await?;
    sqlx::query("select from tasker.tasks where task_id = $1 for update").bind(tasks[1]).execute(&mut *locking).await?;
    assert_eq!(one.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 3).await?.tasks, 2);
    locking.rollback().await?;

    // Only one call deletes at a time. The others do nothing.
    let mut deleting = one.pool().begin().await?;
    sqlx::query("select tasker.delete_finished_tasks($1, '10 days', null, 2)")
        .bind(NAMESPACE)
        .execute(&mut *deleting)
        .await?;
    let nothing = DeletedTasks { tasks: 0, steps: 0, transitions: 0, next: None };
    assert_eq!(two.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?, nothing);
    assert_eq!(two.delete_rejected_messages(TEN_DAYS, 100).await?, 0);
    // Tasks run in the meantime.
    fixture.create_task(template).await?;
    run_available_steps(&fixture).await?;
    deleting.commit().await?;
    assert_eq!(two.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?.tasks, 1);
    assert_eq!(two.delete_rejected_messages(TEN_DAYS, 100).await?, 1);
    assert_eq!(fixture.value::<i64>("select count(*) from tasker.tasks").await?, 1);
    Ok(())
}

#[tokio::test]
async fn the_oldest_rejected_messages_are_deleted_first() -> Result<()> {
    let fixture = Fixture::new().await?;
    for _ in 0..5 {
        insert_rejected_message(&fixture).await?;
        fixture.advance_clock(DAY_MS).await?;
    }
    // The messages are now 5, 4, 3, 2 and 1 days old.
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    assert_eq!(fixture.engine.delete_rejected_messages(days(10), 100).await?, 0);
    assert_eq!(fixture.engine.delete_rejected_messages(days(2), 2).await?, 2);
    assert_eq!(fixture.engine.delete_rejected_messages(days(2), 2).await?, 1);
    assert_eq!(fixture.value::<i64>("select min(rejected_message_id) from tasker.rejected_messages").await?, 4);
    Ok(())
}

/// The size of the growing tables and their indexes in bytes, after vacuum has cut off the free space at their ends.
async fn table_size(fixture: &Fixture) -> Result<i64> {
    for table in ["tasker.tasks", "tasker.steps", "tasker.transitions", "pgmq.q_test"] {
        sqlx::query(AssertSqlSafe(format!("vacuum {table}"))).execute(&fixture.pool).await?;
    }
    fixture
        .value(
            "select sum(pg_total_relation_size(t))::bigint
             from unnest(array['tasker.tasks', 'tasker.steps', 'tasker.transitions', 'pgmq.q_test']::regclass[]) t",
        )
        .await
}

#[tokio::test]
async fn tables_do_not_grow_while_deletion_keeps_up() -> Result<()> {
    const TASKS: usize = 400;
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let tasks: Vec<_> = (0..TASKS).map(|_| NewTask::new(template, json!({ "text": "x".repeat(300) }))).collect();
        fixture.engine.create_tasks(&tasks).await?;
        run_available_steps(&fixture).await?;
        fixture.advance_clock(11 * DAY_MS).await?;
        let deleted = fixture.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 1_000).await?;
        ensure!(deleted.tasks == i64::try_from(TASKS)?, "{deleted:?}");
        sizes.push(table_size(&fixture).await?);
    }
    // Some index pages become reusable only after a later vacuum.
    assert!(sizes[5] < sizes[1] * 5 / 4, "{sizes:?}");
    Ok(())
}
