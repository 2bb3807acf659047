//! Compares the two ways in which the engine creates a single task, and starts and completes a single step: the short way, and in sets.

use std::fmt::Debug;

use anyhow::{Result, ensure};
use serde_json::Value;
use sqlx::PgPool;

/// Every row of every table that both ways write. Ids that the database draws and fencing tokens are left out.
const ROWS: &str = "select jsonb_build_object(
    'tasks', (select jsonb_agg(to_jsonb(t) order by t.task_id) from tasker.tasks t),
    'steps', (
        select jsonb_agg(to_jsonb(s) - 'token' || jsonb_build_object('held', s.token is not null)
            order by s.task_id, s.step_no) from tasker.steps s),
    'transitions', (
        select jsonb_agg(to_jsonb(r) - 'transition_id' order by r.task_id, r.transition_id) from tasker.transitions r),
    'rejected', (select count(*) from tasker.rejected_messages),
    'messages', (
        select jsonb_agg(to_jsonb(m) - 'msg_id' - 'enqueued_at' - 'last_read_at' order by m.namespace, m.message, m.vt, m.read_ct)
        from (select 'a' as namespace, * from pgmq.q_model_a union all select 'b', * from pgmq.q_model_b) m))";

const NO_SHORT_WAY: &str = "create or replace function tasker.short_way() returns boolean
    language sql immutable parallel safe return false";

/// Makes a call both ways, each in a transaction that is rolled back, and compares what it returns and all rows. The pool has
/// one connection.
pub(crate) async fn compare<T, F>(pool: &PgPool, call: impl Fn() -> F) -> Result<()>
where
    T: Debug + PartialEq,
    F: Future<Output = Result<T>>,
{
    let short = attempt(pool, "", &call).await?;
    let in_sets = attempt(pool, NO_SHORT_WAY, &call).await?;
    ensure!(short == in_sets, "the short way: {short:#?}\nin sets: {in_sets:#?}");
    Ok(())
}

async fn attempt<T, F>(pool: &PgPool, prepare: &'static str, call: impl Fn() -> F) -> Result<(T, Value)>
where
    F: Future<Output = Result<T>>,
{
    sqlx::raw_sql("begin").execute(pool).await?;
    sqlx::raw_sql(prepare).execute(pool).await?;
    // Both ways draw the same jitter.
    sqlx::raw_sql("select setseed(0.5)").execute(pool).await?;
    let returned = call().await;
    let rows = sqlx::query_scalar(ROWS).fetch_one(pool).await;
    sqlx::raw_sql("rollback").execute(pool).await?;
    Ok((returned?, rows?))
}
