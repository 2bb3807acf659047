//! What is on disk before it is acknowledged, and what need not be.

use anyhow::{Context, Result, ensure};
use local_postgres::{LocalPostgres, Options};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tasker_engine::Engine;
use uuid::Uuid;

/// A durable database in which nothing else flushes the write-ahead log soon.
struct Bench {
    connection: PgConnection,
    template_id: i64,
    _postgres: LocalPostgres,
}

impl Bench {
    async fn new() -> Result<Self> {
        let settings = [("wal_writer_delay", "10s"), ("wal_writer_flush_after", "1GB"), ("autovacuum", "off")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let postgres = LocalPostgres::start(Options { settings, ..Options::default() }).await?;
        let pool = PgPoolOptions::new().connect(&postgres.url()).await?;
        tasker_engine::migrate(&pool).await?;
        let engine = Engine::new(pool.clone());
        let steps = json!([
            { "name": "one", "handler": { "callable": "c" }, "retry": { "limit": 1 } },
            { "name": "two", "handler": { "callable": "c" }, "dependencies": ["one"] },
        ]);
        let source =
            json!({ "name": "t", "namespace_name": "durable", "version": "1.0.0", "steps": steps }).to_string();
        engine.apply_template(&tasker_template::parse(&source, None)?.template, "test").await?;
        let template_id = engine.find_template("durable", "t", None).await?.context("not stored")?.template_id;
        pool.close().await;
        let connection = PgConnection::connect(&postgres.url()).await?;
        Ok(Self { connection, template_id, _postgres: postgres })
    }

    /// Runs a call in a transaction. Returns its result as JSON, and whether its commit waited for the disk.
    async fn call(&mut self, call: &str) -> Result<(Value, bool)> {
        let mut transaction = self.connection.begin().await?;
        let query = format!("select coalesce(jsonb_agg(c), '[]') from {call} c");
        let result = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut *transaction).await?;
        let row = sqlx::query("select current_setting('synchronous_commit') = 'on', pg_current_wal_insert_lsn()::text")
            .fetch_one(&mut *transaction)
            .await?;
        let (waits, written): (bool, String) = (row.try_get(0)?, row.try_get(1)?);
        transaction.commit().await?;
        let flushed: bool = sqlx::query_scalar("select pg_current_wal_flush_lsn() > $1::text::pg_lsn")
            .bind(written)
            .fetch_one(&mut self.connection)
            .await?;
        ensure!(flushed || !waits, "{call} did not wait for the disk, although it should");
        Ok((result, waits))
    }

    async fn create(&mut self) -> Result<Uuid> {
        let task = Uuid::now_v7();
        let (_, waits) = self
            .call(&format!(
                "tasker.create_tasks(array['{task}']::uuid[], array[{}]::bigint[], array[false], array['{{}}']::jsonb[],
                 array[0]::smallint[], array[null]::jsonb[], array[null]::text[], array[null]::bytea[])",
                self.template_id
            ))
            .await?;
        ensure!(waits, "a creation did not wait for the disk");
        Ok(task)
    }

    /// Claims the step that is ready.
    async fn claim(&mut self) -> Result<(Value, bool)> {
        let (steps, waits) =
            self.call("tasker.start_steps('worker', array['durable'], 10, interval '1 minute')").await?;
        Ok((steps.get(0).context("nothing to claim")?.clone(), waits))
    }

    async fn complete(&mut self, step: &Value, outcome: &str) -> Result<bool> {
        let text = |name: &str| step[name].as_str().map(str::to_owned).context("no text");
        let (refused, waits) = self
            .call(&format!(
                "tasker.complete_steps('worker', array[]::text[], 0, interval '1 minute', array['durable'],
                 array[{}]::bigint[], array['{}']::uuid[], array[{}]::smallint[], array['{}']::uuid[], array['{outcome}'],
                 array['{{}}']::jsonb[])",
                step["msg_id"],
                text("task_id")?,
                step["step_no"],
                text("token")?
            ))
            .await?;
        ensure!(refused == json!([]), "the result was refused");
        Ok(waits)
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_on_disk() -> Result<()> {
    let mut bench = Bench::new().await?;
    let task = bench.create().await?;
    let (step, _) = bench.claim().await?;
    assert!(bench.complete(&step, "retryable_error").await?, "a result");
    for action in [
        format!("tasker.retry_steps('{task}', null, null, null)"),
        format!("tasker.resolve_step('{task}', 'one', '1', null, null)"),
        format!("tasker.end_task('{task}', 'cancelled', null, null)"),
    ] {
        let (result, waits) = bench.call(&action).await?;
        assert_eq!(result[0]["outcome"], "done", "{action}");
        assert!(waits, "{action}");
    }
    Ok(())
}

#[tokio::test]
async fn claims_do_not_wait_for_the_disk() -> Result<()> {
    let mut bench = Bench::new().await?;
    bench.create().await?;
    let (step, waits) = bench.claim().await?;
    assert!(!waits, "a claim");
    let (task, token) = (step["task_id"].as_str().context("no task")?, step["token"].as_str().context("no token")?);
    let extend = format!(
        "tasker.extend_leases(interval '1 minute', array['durable'], array[{}]::bigint[], array['{task}']::uuid[],
         array[0]::smallint[], array['{token}']::uuid[])",
        step["msg_id"]
    );
    let (held, waits) = bench.call(&extend).await?;
    assert_eq!((held.as_array().map(Vec::len), waits), (Some(1), false), "a lease");
    // The next transaction of the same session waits again.
    assert!(bench.complete(&step, "completed").await?, "a result after a claim");
    Ok(())
}
