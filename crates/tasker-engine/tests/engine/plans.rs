//! Query plans: batches read few rows even if the tables are large and PostgreSQL has no statistics about them.

use anyhow::Result;
use serde_json::json;
use sqlx::PgPool;
use tasker_engine::{StepOutcome, StepResult};

use crate::fixture::{Fixture, LEASE, NAMESPACE, completed, step};

/// The rows that this session has read by sequential scans and by index scans. Only differences within one transaction
/// are meaningful, because PostgreSQL flushes these counters between transactions.
async fn rows_read(connection: &mut sqlx::PgConnection) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "select coalesce(sum(seq_tup_read), 0)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint
         from pg_stat_xact_user_tables
         where schemaname in ('tasker', 'pgmq') and relname in ('tasks', 'steps', 'transitions', 'q_test')",
    )
    .fetch_one(connection)
    .await?)
}

/// Inserts 100,000 completed tasks of three steps, and as many hidden messages, without statistics.
async fn fill(pool: &PgPool, template_id: i64) -> Result<()> {
    for statement in [
        "alter table tasker.tasks set (autovacuum_enabled = off)",
        "alter table tasker.steps set (autovacuum_enabled = off)",
        "alter table pgmq.q_test set (autovacuum_enabled = off)",
    ] {
        sqlx::query(statement).execute(pool).await?;
    }
    sqlx::query(
        "insert into tasker.tasks (task_id, template_id, created_at, completed_at, state, priority, total_steps,
                                   completed_steps, active_steps, namespace, context)
         select ('01890000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, $1, tasker.now(), tasker.now(),
                'completed', 0, 3, 3, 0, 'test', '{}'
         from generate_series(1, 100000) n",
    )
    .bind(template_id)
    .execute(pool)
    .await?;
    sqlx::query(
        "insert into tasker.steps (task_id, step_no, pending_dependencies, state, result)
         select t.task_id, n, 0, 'completed', '{}' from tasker.tasks t, generate_series(0, 2) n
         where t.task_id < '01890001-0000-7000-8000-000000000000'",
    )
    .execute(pool)
    .await?;
    sqlx::query(
        "insert into pgmq.q_test (vt, message)
         select tasker.now() + interval '1 day', jsonb_build_object('task_id', task_id, 'step_no', 0)
         from tasker.tasks",
    )
    .execute(pool)
    .await?;
    Ok(())
}

#[tokio::test]
async fn rows_read_by_a_batch_do_not_grow_with_history() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template =
        fixture.store_template(NAMESPACE, json!([step("a", &[]), step("b", &["a"]), step("c", &["b"])])).await?;
    // PostgreSQL makes the plans and keeps them while the tables are almost empty. This is the worst case.
    for _ in 0..10 {
        fixture.create_task(template).await?;
    }
    for step in fixture.claim("w", 10).await? {
        fixture.complete("w", 10, &[completed(&step)]).await?;
    }
    fill(&fixture.pool, template).await?;
    let mut tasks = Vec::new();
    for _ in 0..50 {
        tasks.push(fixture.create_task(template).await?);
    }

    let namespaces = [NAMESPACE.to_owned()];
    let mut transaction = fixture.pool.begin().await?;
    let before = rows_read(&mut transaction).await?;
    let claimed: Vec<(uuid::Uuid, i16, uuid::Uuid, i64)> = sqlx::query_as(
        "select task_id, step_no, token, msg_id
         from tasker.start_steps('w', $1, array[null]::interval[], 50, make_interval(secs => $2))",
    )
    .bind(&namespaces)
    .bind(LEASE.as_secs_f64())
    .fetch_all(&mut *transaction)
    .await?;
    assert_eq!(claimed.len(), 50);
    let started = rows_read(&mut transaction).await?;
    assert_eq!(started.0, before.0, "start_steps scanned a table");
    assert!(started.1 - before.1 < 50 * 30, "start_steps fetched {} rows for 50 steps", started.1 - before.1);

    let handed = sqlx::query(
        "select unnest(c.handed)
         from tasker.complete_steps('w', $1, 50, '30 s', array(
             select ('test', msg_id, task_id, step_no, token, 'completed', '{}')::tasker.step_result
             from unnest($2::bigint[], $3::uuid[], $4::smallint[], $5::uuid[]) r(msg_id, task_id, step_no, token))) c",
    )
    .bind(&namespaces)
    .bind(claimed.iter().map(|step| step.3).collect::<Vec<_>>())
    .bind(claimed.iter().map(|step| step.0).collect::<Vec<_>>())
    .bind(claimed.iter().map(|step| step.1).collect::<Vec<_>>())
    .bind(claimed.iter().map(|step| step.2).collect::<Vec<_>>())
    .fetch_all(&mut *transaction)
    .await?;
    assert_eq!(handed.len(), 50);
    let completed = rows_read(&mut transaction).await?;
    assert_eq!(completed.0, before.0, "complete_steps scanned a table");
    assert!(completed.1 - started.1 < 50 * 60, "complete_steps fetched {} rows for 50 steps", completed.1 - started.1);
    transaction.commit().await?;

    // Lists, with every filter.
    let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    for (namespaces, status) in [
        (None, None),
        (some(&[NAMESPACE]), None),
        (some(&[NAMESPACE, "other"]), Some("completed")),
        (None, Some("blocked_by_failures")),
        (None, Some("completed")),
    ] {
        let filter = tasker_engine::TaskFilter {
            namespaces: namespaces.clone(),
            states: status.map(|status| status.parse().map(|status| vec![status])).transpose()?,
            ..tasker_engine::TaskFilter::default()
        };
        // The pool has one session, so the following statements are one transaction.
        sqlx::query("begin").execute(&fixture.pool).await?;
        let before = rows_read(&mut *fixture.pool.acquire().await?).await?;
        fixture.engine.list_tasks(&filter, 50).await?;
        let after = rows_read(&mut *fixture.pool.acquire().await?).await?;
        sqlx::query("commit").execute(&fixture.pool).await?;
        assert_eq!(after.0, before.0, "the list of {namespaces:?} and {status:?} scanned a table");
        assert!(
            after.1 - before.1 < 1_000,
            "the list of {namespaces:?} and {status:?} fetched {} rows",
            after.1 - before.1
        );
    }

    // Retention: first with no task old enough, then with every task.
    for (age, rows, deleted) in [("1 day", 500 * 3, 0), ("-1 day", 500 * 20, 500)] {
        let mut transaction = fixture.pool.begin().await?;
        let before = rows_read(&mut transaction).await?;
        let tasks: i64 =
            sqlx::query_scalar("select tasks from tasker.delete_finished_tasks('test', $1::interval, null, 500)")
                .bind(age)
                .fetch_one(&mut *transaction)
                .await?;
        assert_eq!(tasks, deleted);
        let after = rows_read(&mut transaction).await?;
        assert_eq!(after.0, before.0, "retention scanned a table");
        assert!(after.1 - before.1 < rows, "retention fetched {} rows to delete {tasks} tasks", after.1 - before.1);
        transaction.rollback().await?;
    }

    // Searches, counts and missing handlers read a bounded number of rows, whatever they find.
    // With statistics, and without a vacuum, walking the primary key looks cheap to the planner.
    sqlx::query("analyze tasker.tasks").execute(&fixture.pool).await?;
    let blocked = Some(vec![tasker_api::TaskState::BlockedByFailures]);
    for filter in [
        tasker_engine::TaskFilter { template: Some("t".to_owned()), states: blocked, ..Default::default() },
        tasker_engine::TaskFilter { value: Some((String::new(), "none".to_owned())), ..Default::default() },
        tasker_engine::TaskFilter { text: Some("none".to_owned()), ..Default::default() },
    ] {
        sqlx::query("begin").execute(&fixture.pool).await?;
        let before = rows_read(&mut *fixture.pool.acquire().await?).await?;
        fixture.engine.list_tasks(&filter, 50).await?;
        fixture.engine.count_tasks(None, 1_000).await?;
        fixture.engine.unserved_handlers(None, 1_000).await?;
        fixture.engine.newer_tasks(None, uuid::Uuid::nil(), 100).await?;
        let after = rows_read(&mut *fixture.pool.acquire().await?).await?;
        sqlx::query("commit").execute(&fixture.pool).await?;
        assert_eq!(after.0, before.0, "{filter:?} scanned a table");
        assert!(after.1 - before.1 < 40_000, "{filter:?} fetched {} rows", after.1 - before.1);
    }

    // Each open task is read once, although its template is not in the index that finds it.
    sqlx::query(
        "update tasker.tasks set state = 'blocked_by_failures', completed_at = null
                 where task_id < '01890000-0000-7000-8000-000000005000'",
    )
    .execute(&fixture.pool)
    .await?;
    sqlx::query("begin").execute(&fixture.pool).await?;
    let before = rows_read(&mut *fixture.pool.acquire().await?).await?;
    fixture.engine.unserved_handlers(None, 1_000).await?;
    let after = rows_read(&mut *fixture.pool.acquire().await?).await?;
    sqlx::query("commit").execute(&fixture.pool).await?;
    assert_eq!(after.0, before.0, "unserved_handlers scanned a table");
    assert!(after.1 - before.1 < 1_500, "unserved_handlers fetched {} rows for 1,000 tasks", after.1 - before.1);
    Ok(())
}

#[tokio::test]
async fn rows_read_by_children_do_not_grow_with_their_number() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut each = step("each", &["list"]);
    each["map"] = json!({ "step": "list", "pointer": "/items", "parallelism": 1_000, "failure_strategy": "isolate" });
    let template = fixture.store_template(NAMESPACE, json!([step("list", &[]), each, step("join", &["each"])])).await?;
    // The worst case: PostgreSQL keeps the plans that it made when all tasks had few steps.
    for round in 0..4 {
        fixture.create_task(template).await?;
        if round == 3 {
            sqlx::query("analyze tasker.tasks, tasker.steps, tasker.template_steps").execute(&fixture.pool).await?;
        }
        let list = fixture.claim_only("w").await?;
        let count = if round == 3 { 5_000 } else { 2 };
        let outcome = StepOutcome::Completed(json!({ "items": vec![0; count] }));
        fixture.complete("w", 0, &[StepResult { step: list.step_ref(), outcome }]).await?;
        if round < 3 {
            while let Some(step) = fixture.claim("w", 1).await?.pop() {
                fixture.complete("w", 0, &[completed(&step)]).await?;
            }
        }
    }

    sqlx::query("begin").execute(&fixture.pool).await?;
    let before = rows_read(&mut *fixture.pool.acquire().await?).await?;
    let children = fixture.claim("w", 50).await?;
    assert_eq!(children.len(), 50);
    let started = rows_read(&mut *fixture.pool.acquire().await?).await?;
    fixture.complete("w", 50, &children.iter().map(completed).collect::<Vec<_>>()).await?;
    let completed = rows_read(&mut *fixture.pool.acquire().await?).await?;
    sqlx::query("commit").execute(&fixture.pool).await?;
    assert_eq!(completed.0, before.0, "children made a scan of a table");
    assert!(started.1 - before.1 < 50 * 30, "start_steps fetched {} rows for 50 children", started.1 - before.1);
    assert!(completed.1 - started.1 < 50 * 60, "complete_steps fetched {} rows for 50", completed.1 - started.1);
    Ok(())
}

#[tokio::test]
async fn blocked_tasks_with_open_investigations_are_not_looked_up_one_by_one() -> Result<()> {
    let fixture = Fixture::new().await?;
    let template = fixture.store_template(NAMESPACE, json!([step("a", &[])])).await?;
    // PostgreSQL makes the plan and keeps it while the tables are empty. This is the worst case.
    assert_eq!(fixture.engine.open_blocked_dead_letters(100).await?, 0);
    for statement in [
        "alter table tasker.tasks set (autovacuum_enabled = off)",
        "alter table tasker.dead_letters set (autovacuum_enabled = off)",
        "insert into tasker.namespaces (namespace, queue, created_at) values ('other', 'other', tasker.now())",
    ] {
        sqlx::query(statement).execute(&fixture.pool).await?;
    }
    sqlx::query(
        "insert into tasker.tasks (task_id, template_id, created_at, completed_at, state, priority, total_steps,
                                   completed_steps, failed_steps, active_steps, namespace, context)
         select gen_random_uuid(), $1, tasker.now(), case when n % 2 = 0 then tasker.now() end,
                (case when n % 2 = 0 then 'completed' else 'blocked_by_failures' end)::tasker.state, 0, 1,
                (n + 1) % 2, n % 2, 0, case when n % 4 > 1 then 'other' else 'test' end, '{}'
         from generate_series(1, 40000) n",
    )
    .bind(template)
    .execute(&fixture.pool)
    .await?;
    while fixture.engine.open_blocked_dead_letters(10_000).await? > 0 {}
    for statement in [
        "delete from tasker.dead_letters where task_id in (select task_id from tasker.dead_letters limit 3)",
        "vacuum tasker.tasks, tasker.dead_letters",
    ] {
        sqlx::query(statement).execute(&fixture.pool).await?;
    }

    let mut transaction = fixture.pool.begin().await?;
    let before = scans_and_rows(&mut transaction).await?;
    let opened: i32 =
        sqlx::query_scalar("select tasker.open_blocked_dead_letters(100)").fetch_one(&mut *transaction).await?;
    assert_eq!(opened, 3);
    // The index of the lists once for each namespace, that of open investigations once, and some for the three tasks.
    let after = scans_and_rows(&mut transaction).await?;
    let (scans, rows) = (after.0 - before.0, after.1 - before.1);
    assert!(scans <= 50, "{scans} index scans");
    // Each index has 20,000 entries. Where another session keeps the vacuum from its work, their rows are read too.
    assert!(rows <= 45_000, "{rows} rows read");
    Ok(())
}

/// The scans of indexes that this session has made, and the rows that it has read. As for [`rows_read`], only
/// differences are meaningful.
async fn scans_and_rows(connection: &mut sqlx::PgConnection) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "select sum(idx_scan)::bigint, sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_xact_user_tables
         where schemaname = 'tasker' and relname in ('tasks', 'dead_letters', 'transitions')",
    )
    .fetch_one(connection)
    .await?)
}
