//! What is kept no longer goes with all its rows; what is young, running or blocked stays.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sqlx::AssertSqlSafe;
use tasker_engine::database::pool_options;
use tasker_engine::{CreateOutcome, DeletedTasks, Engine, NewTask, Operation, StepOutcome, StepResult};
use uuid::Uuid;

use crate::bench::{Bench, NAMESPACE, completed, failed, step};

const DAY_MS: i64 = 24 * 3600 * 1000;
const TEN_DAYS: Duration = Duration::from_secs(10 * 24 * 3600);

/// The tasks, sorted, of which a table has rows.
async fn tasks_in(bench: &Bench, table: &str) -> Result<Vec<Uuid>> {
    let query = format!("select distinct task_id from tasker.{table} order by 1");
    Ok(sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&bench.pool).await?)
}

/// Runs every step that can run now.
async fn work(bench: &Bench) -> Result<()> {
    loop {
        let steps = bench.start("w", 50).await?;
        if steps.is_empty() {
            return Ok(());
        }
        bench.finish("w", 0, &steps.iter().map(completed).collect::<Vec<_>>()).await?;
    }
}

#[tokio::test]
async fn what_ended_long_ago_goes_and_everything_else_stays() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let other = bench.template("other", json!([step("a", &[])])).await?;
    let permanently = |step: &_| {
        let StepResult { step, .. } = failed(step);
        StepResult { step, outcome: StepOutcome::PermanentError(json!({ "kind": "test", "message": "on purpose" })) }
    };

    let mut old = Vec::new();
    old.push(bench.task(template).await?);
    work(&bench).await?;
    let cancelled = bench.task(template).await?;
    bench.engine.operate(cancelled, &Operation::Cancel, None, None).await?;
    old.push(cancelled);
    let given_up = bench.task(template).await?;
    let first = bench.start_one("w").await?;
    bench.finish("w", 0, &[permanently(&first)]).await?;
    bench.engine.operate(given_up, &Operation::Fail, None, None).await?;
    old.push(given_up);

    let mut kept = Vec::new();
    kept.push(bench.task(template).await?);
    let first = bench.start_one("w").await?;
    bench.finish("w", 0, &[permanently(&first)]).await?;
    ensure!(bench.value::<i64>("select count(*) from tasker.tasks where state = 'blocked_by_failures'").await? == 1);
    kept.push(bench.task(template).await?);
    bench.start_one("w").await?;
    kept.push(bench.task(template).await?);
    kept.push(bench.task(other).await?);
    bench.engine.operate(kept[3], &Operation::Cancel, None, None).await?;
    bench.pass(9 * DAY_MS).await?;
    // As old as the others, but it ends only now.
    let late = bench.task(template).await?;
    bench.engine.operate(late, &Operation::Cancel, None, None).await?;
    kept.push(late);

    let nothing = DeletedTasks { tasks: 0, steps: 0, transitions: 0, next: None };
    assert_eq!(bench.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?, nothing);
    bench.pass(DAY_MS + 1).await?;
    let history = bench.value::<i64>("select count(*) from tasker.transitions").await?;
    let deleted = bench.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?;
    let left = bench.value::<i64>("select count(*) from tasker.transitions").await?;
    assert_eq!(deleted, DeletedTasks { tasks: 3, steps: 6, transitions: history - left, next: None });
    kept.sort();
    for table in ["tasks", "steps", "transitions"] {
        assert_eq!(tasks_in(&bench, table).await?, kept, "{table}");
    }
    assert_eq!(bench.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?, nothing);
    assert_eq!(bench.engine.delete_finished_tasks("other", TEN_DAYS, None, 100).await?.tasks, 1);

    // What is left can go on: the cancelled tasks' messages find no steps, and the lease of the running one is over.
    bench.engine.operate(kept[0], &Operation::Retry { step: None }, None, None).await?;
    work(&bench).await?;
    assert_eq!(bench.value::<i64>("select count(*) from tasker.tasks where state = 'completed'").await?, 3);
    assert_eq!(bench.value::<i64>("select count(*) from pgmq.q_bench").await?, 0);
    for task in old {
        assert_eq!(bench.engine.get_task(task).await?, None);
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_task_frees_its_idempotency_key() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let task = |hash: u8| NewTask {
        task_id: Uuid::now_v7(),
        template_id: template,
        latest: true,
        context: json!({}),
        priority: 0,
        tags: None,
        idempotency: Some(("key".to_owned(), vec![hash])),
    };
    let outcome = bench.engine.create_tasks(&[task(1)]).await?;
    assert!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
    work(&bench).await?;
    bench.pass(11 * DAY_MS).await?;
    let outcome = bench.engine.create_tasks(&[task(2)]).await?;
    assert!(matches!(outcome[..], [CreateOutcome::Conflict(_)]), "{outcome:?}");
    assert_eq!(bench.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?.tasks, 1);
    let outcome = bench.engine.create_tasks(&[task(2)]).await?;
    assert!(matches!(outcome[..], [CreateOutcome::Created(_)]), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_batch_is_small_and_says_where_to_look_on() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let mut tasks = Vec::new();
    for _ in 0..7 {
        tasks.push(bench.task(template).await?);
    }
    work(&bench).await?;
    bench.pass(11 * DAY_MS).await?;
    let mut after = None;
    let mut batches = Vec::new();
    loop {
        let DeletedTasks { tasks, next, .. } =
            bench.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, after, 3).await?;
        batches.push((tasks, next));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(batches, [(3, Some(tasks[2])), (3, Some(tasks[5])), (1, None)]);
    Ok(())
}

/// A session of its own whose clock shows what the bench's shows, and that waits for nobody.
async fn impatient(bench: &Bench) -> Result<Engine> {
    let now: String = bench.value("select current_setting('tasker.now')").await?;
    let options =
        (*bench.pool.connect_options()).clone().options([("tasker.now", now.as_str()), ("lock_timeout", "1")]);
    Ok(Engine::new(pool_options().max_connections(1).connect_with(options).await?))
}

#[tokio::test]
async fn nobody_waits() -> Result<()> {
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[])])).await?;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(bench.task(template).await?);
    }
    work(&bench).await?;
    sqlx::query(
        "insert into tasker.rejected_messages (queue, msg_id, reason, rejected_at) values ('q', 1, 'r', tasker.now())",
    )
    .execute(&bench.pool)
    .await?;
    bench.pass(11 * DAY_MS).await?;
    let (one, two) = (impatient(&bench).await?, impatient(&bench).await?);

    // A task that somebody has locked stays for the next time.
    let mut somebody = bench.pool.begin().await?;
    sqlx::query("select from tasker.tasks where task_id = $1 for update")
        .bind(tasks[1])
        .execute(&mut *somebody)
        .await?;
    assert_eq!(one.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 3).await?.tasks, 2);
    somebody.rollback().await?;

    // While one deletes, another does nothing, whatever it would find.
    let mut deleting = one.pool().begin().await?;
    sqlx::query("select tasker.delete_finished_tasks($1, '10 days', null, 2)")
        .bind(NAMESPACE)
        .execute(&mut *deleting)
        .await?;
    let nothing = DeletedTasks { tasks: 0, steps: 0, transitions: 0, next: None };
    assert_eq!(two.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?, nothing);
    assert_eq!(two.delete_rejected_messages(TEN_DAYS, 100).await?, 0);
    // Work goes on meanwhile.
    bench.task(template).await?;
    work(&bench).await?;
    deleting.commit().await?;
    assert_eq!(two.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 100).await?.tasks, 1);
    assert_eq!(two.delete_rejected_messages(TEN_DAYS, 100).await?, 1);
    assert_eq!(bench.value::<i64>("select count(*) from tasker.tasks").await?, 1);
    Ok(())
}

#[tokio::test]
async fn rejected_messages_go_oldest_first() -> Result<()> {
    let bench = Bench::new().await?;
    for _ in 0..5 {
        sqlx::query("insert into tasker.rejected_messages (queue, msg_id, reason, rejected_at) values ('q', 1, 'r', tasker.now())")
            .execute(&bench.pool)
            .await?;
        bench.pass(DAY_MS).await?;
    }
    // Their ages are now 5, 4, 3, 2 and 1 days.
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    assert_eq!(bench.engine.delete_rejected_messages(days(10), 100).await?, 0);
    assert_eq!(bench.engine.delete_rejected_messages(days(2), 2).await?, 2);
    assert_eq!(bench.engine.delete_rejected_messages(days(2), 2).await?, 1);
    assert_eq!(bench.value::<i64>("select min(rejected_message_id) from tasker.rejected_messages").await?, 4);
    Ok(())
}

/// The bytes of the tables that grow, with their indexes, without what is free at their ends.
async fn size(bench: &Bench) -> Result<i64> {
    for table in ["tasker.tasks", "tasker.steps", "tasker.transitions", "pgmq.q_bench"] {
        sqlx::query(AssertSqlSafe(format!("vacuum {table}"))).execute(&bench.pool).await?;
    }
    bench
        .value(
            "select sum(pg_total_relation_size(t))::bigint
             from unnest(array['tasker.tasks', 'tasker.steps', 'tasker.transitions', 'pgmq.q_bench']::regclass[]) t",
        )
        .await
}

#[tokio::test]
async fn tables_do_not_grow_while_deleting_keeps_up() -> Result<()> {
    const TASKS: usize = 400;
    let bench = Bench::new().await?;
    let template = bench.template(NAMESPACE, json!([step("a", &[]), step("b", &["a"])])).await?;
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| NewTask {
                task_id: Uuid::now_v7(),
                template_id: template,
                latest: true,
                context: json!({ "text": "x".repeat(300) }),
                priority: 0,
                tags: None,
                idempotency: None,
            })
            .collect();
        bench.engine.create_tasks(&tasks).await?;
        work(&bench).await?;
        bench.pass(11 * DAY_MS).await?;
        let deleted = bench.engine.delete_finished_tasks(NAMESPACE, TEN_DAYS, None, 1_000).await?;
        ensure!(deleted.tasks == i64::try_from(TASKS)?, "{deleted:?}");
        sizes.push(size(&bench).await?);
    }
    // Some pages of an index are free for use only when a later vacuum has seen them.
    assert!(sizes[5] < sizes[1] * 5 / 4, "{sizes:?}");
    Ok(())
}
