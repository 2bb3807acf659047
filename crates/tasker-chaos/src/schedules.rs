//! Schedules: each of their times gets exactly one task, or the right reason why there is none.
//!
//! Cron knows no times between minutes. So the campaign stores one schedule after the other and moves its time into the
//! past, as if servers had been down since then. A trigger records each time that a server handles. Records are part of
//! the server's transaction, so they are complete.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use sqlx::{PgConnection, PgPool};
use tasker_api::{Overlap, PutSchedule};
use tasker_client::{ClientError, OrchestrationApiClient};
use tokio::time::sleep;
use uuid::Uuid;

use crate::field::Field;
use crate::load::{Acknowledged, Client};
use crate::workflows;

/// How many schedules exist at the same time.
pub(crate) const OWNERS: usize = 4;
/// How long a time may be due until a server has handled it. Overlapping faults add up.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a server may take from reading a time to recording it.
const CALL: Duration = Duration::from_secs(10);
/// Longer than a minute: the next time comes by itself.
const LONG: Duration = Duration::from_secs(65);
const POLL: Duration = Duration::from_millis(250);

const RECORDER: &str = "
    create schema campaign;
    create table campaign.fired (
        name text, at timestamptz, due timestamptz, slot timestamptz, next_at timestamptz, outcome text, task_id uuid,
        earlier_task_id uuid, overlap text, catch_up interval, error text);
    create function campaign.record() returns trigger language plpgsql security definer as $$
    begin
        insert into campaign.fired values (
            new.name, clock_timestamp(), old.next_at, new.last_slot, new.next_at, new.last_outcome,
            case when new.last_outcome = 'created' then new.last_task_id end, old.last_task_id, new.overlap,
            new.catch_up_seconds * interval '1 second', new.last_error);
        return null;
    end $$;
    create trigger fired after update of last_slot on tasker.schedules for each row execute function campaign.record()";

/// A rule, and a query for lines that each describe a violation. `$1` is [`CALL`] on this machine, in seconds.
const CHECKS: &[(&str, &str)] = &[
    (
        "each time has one task",
        "select format('schedule %s, %s: %s tasks', f.name, f.slot, count(*))
         from campaign.fired f where f.outcome = 'created' and $1 > 0 group by f.name, f.slot having count(*) > 1",
    ),
    (
        "tasks of schedules are those that servers created for their times",
        "select format('schedule %s, %s: task %s has the key %s', f.name, f.slot, coalesce(t.task_id, f.task_id), t.idempotency_key)
         from (select * from campaign.fired where outcome = 'created' and $1 > 0) f
         full join (select * from tasker.tasks where idempotency_key like 'schedule:%') t on t.task_id = f.task_id
         where t.idempotency_key is distinct from
             'schedule:' || f.name || ':' || to_char(f.slot at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    ),
    (
        "servers handle a time that has come, and go on with the next",
        "select format('schedule %s, due %s, handled at %s: %s for %s, then %s: %s',
                f.name, f.due, f.at, f.outcome, f.slot, f.next_at, f.error)
         from campaign.fired f
         where f.outcome not in ('created', 'skipped', 'missed') or f.next_at <= f.due or f.slot < f.due or f.slot > f.at
            or f.outcome <> 'missed' and f.next_at <> f.slot + interval '1 minute' and $1 > 0",
    ),
    (
        "a time is missed if and only if it is too old",
        "select format('schedule %s, due %s, handled at %s: %s for %s', f.name, f.due, f.at, f.outcome, f.slot)
         from campaign.fired f
         where case f.outcome when 'missed' then f.at - (f.next_at - interval '1 minute') <= f.catch_up
                    else f.at - f.slot > f.catch_up + $1 * interval '1 second' end",
    ),
    (
        "an earlier task that runs counts as `overlap` says",
        "select format('schedule %s (%s) at %s: %s for %s, and the earlier task %s is %s since %s',
                f.name, f.overlap, f.at, f.outcome, f.slot, t.task_id, t.state, t.completed_at)
         from campaign.fired f left join tasker.tasks t on t.task_id = f.earlier_task_id
         where case
             -- The same time was handled before, and its time was moved again.
             when f.outcome = 'skipped' and exists (
                 select from campaign.fired e where e.name = f.name and e.slot = f.slot and e.outcome = 'created') then false
             when f.outcome = 'skipped' then
                 f.overlap <> 'skip' or t.task_id is null or t.completed_at < f.at - $1 * interval '1 second'
             when f.outcome = 'created' and f.overlap in ('skip', 'cancel') and t.task_id is not null then
                 t.completed_at is null or t.completed_at > f.at
             else false
         end or f.overlap <> 'cancel' and t.state = 'cancelled'",
    ),
];

/// Starts to record.
pub(crate) async fn record(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::raw_sql(RECORDER).execute(pool).await.map(|_| ())
}

/// What is wrong with the times that servers handled. `slack` multiplies [`CALL`].
pub(crate) async fn violations(connection: &mut PgConnection, slack: u32) -> sqlx::Result<Vec<String>> {
    let mut found = Vec::new();
    for &(rule, query) in CHECKS {
        let lines = sqlx::query_scalar(query).bind((CALL * slack).as_secs_f64()).fetch_all(&mut *connection).await?;
        found.extend(lines.into_iter().map(|line: String| format!("{rule}: {line}")));
    }
    Ok(found)
}

/// How many times servers handled, by outcome.
pub(crate) async fn handled(pool: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as("select outcome, count(*) from campaign.fired group by outcome").fetch_all(pool).await
}

/// Stores one schedule after the other, until the campaign is `closing`.
pub(crate) async fn owner(field: Arc<Field>, acknowledged: Arc<Acknowledged>, number: usize, seed: u64) {
    let mut client = Client { field: &field, turn: number, rng: Rng::with_seed(seed) };
    let work = async {
        let mut round = 0;
        while !field.closing.is_cancelled() {
            round += 1;
            if let Err(error) = one_schedule(&mut client, &acknowledged, &format!("campaign-{number}.{round}")).await {
                field.ledger.violation(error);
            }
        }
    };
    field.over.run_until_cancelled(work).await;
}

/// Follows a schedule from the beginning to the end. The error is a violation.
async fn one_schedule(client: &mut Client<'_>, acknowledged: &Acknowledged, name: &str) -> Result<(), String> {
    let field = client.field;
    let earlier = workflows::slow(client.rng.u32(0..3_000));
    let created = client.ask(async |api| api.create_task(&earlier).await).await;
    let earlier = created.map_err(|error| format!("a task could not be created: {error}"))?.task_uuid;
    acknowledged.insert(earlier);
    let task = workflows::slow(client.rng.u32(0..2_000));
    let schedule = PutSchedule {
        namespace: task.namespace,
        template: task.name,
        version: None,
        cron: "* * * * *".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        overlap: [Overlap::Skip, Overlap::Allow, Overlap::Cancel][client.rng.usize(0..3)],
        catch_up_seconds: if client.rng.bool() { 20 } else { 3_600 },
        context: task.context,
        priority: None,
        tags: None,
        paused: false,
    };
    let put = client.ask(async |api| api.put_schedule(name, &schedule).await).await;
    put.map_err(|error| format!("schedule {name} could not be stored: {error}"))?;
    let minutes = client.rng.i32(0..4);
    while let Err(error) = make_due(field.pool(), name, minutes, earlier).await {
        if matches!(error, sqlx::Error::RowNotFound) {
            return Err(format!("schedule {name} was acknowledged, but is gone"));
        }
        sleep(POLL).await;
    }
    let (begun, limit) = (Instant::now(), field.ledger.limit(LIMIT));
    // A query fails while PostgreSQL is unavailable.
    while !is_handled(field.pool(), name).await.unwrap_or(false) {
        if begun.elapsed() > limit {
            return Err(format!("no server handled schedule {name} within {limit:?}"));
        }
        sleep(POLL).await;
    }
    let pause = if client.rng.u8(0..16) == 0 { LONG } else { Duration::from_millis(client.rng.u64(0..1_000)) };
    field.closing.run_until_cancelled(sleep(pause)).await;
    match client.ask(async |api| api.delete_schedule(name).await).await {
        Ok(()) => Ok(()),
        // An earlier request was carried out, although its response was lost.
        Err(ClientError::Problem(problem)) if problem.status == 404 => Ok(()),
        Err(error) => Err(format!("schedule {name} could not be deleted: {error}")),
    }
}

/// Makes a schedule due since the beginning of a minute, with a task that may still be running.
async fn make_due(pool: &PgPool, name: &str, minutes: i32, earlier: Uuid) -> sqlx::Result<String> {
    sqlx::query_scalar(
        "update tasker.schedules
         set next_at = date_trunc('minute', clock_timestamp()) - $2 * interval '1 minute', last_task_id = $3
         where name = $1 returning name",
    )
    .bind(name)
    .bind(minutes)
    .bind(earlier)
    .fetch_one(pool)
    .await
}

async fn is_handled(pool: &PgPool, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select s.next_at > clock_timestamp() and exists (select from campaign.fired f where f.name = s.name)
         from tasker.schedules s where s.name = $1",
    )
    .bind(name)
    .fetch_one(pool)
    .await
}

#[cfg(test)]
mod tests {
    use local_postgres::{LocalPostgres, Options};
    use serde_json::json;
    use sqlx::AssertSqlSafe;
    use tasker_engine::{Engine, NewTask};

    use super::*;

    /// A rule of [`CHECKS`], and a statement that breaks it.
    const BROKEN: [(usize, &str); 10] = [
        (0, "insert into campaign.fired select * from campaign.fired where outcome = 'created'"),
        (1, "update tasker.tasks set idempotency_key = 'schedule:x' where idempotency_key like 'schedule:cancel:%'"),
        (1, "delete from campaign.fired where name = 'allow'"),
        (2, "update campaign.fired set outcome = 'failed' where name = 'allow'"),
        (2, "update campaign.fired set next_at = next_at + interval '1 minute' where name = 'skip'"),
        (3, "update campaign.fired set outcome = 'missed' where name = 'skip'"),
        (3, "update campaign.fired set at = at + interval '2 hours' where name = 'allow'"),
        (4, "update campaign.fired set overlap = 'allow' where name = 'skip'"),
        (4, "update tasker.tasks set completed_at = completed_at + interval '1 hour' where state = 'cancelled'"),
        (4, "update campaign.fired set overlap = 'allow' where name = 'cancel'"),
    ];

    #[tokio::test]
    async fn what_a_server_does_keeps_the_rules_and_each_rule_can_be_broken() -> Result<()> {
        let postgres = LocalPostgres::start(Options::default()).await?;
        let pool = PgPool::connect(&postgres.url()).await?;
        tasker_engine::migrate(&pool).await?;
        record(&pool).await?;
        let engine = Engine::new(pool.clone());
        let template = json!({
            "name": "t", "namespace_name": "n", "version": "1.0.0", "steps": [{ "name": "a", "handler": { "callable": "a" } }],
        });
        engine.apply_template(&tasker_template::parse(&template.to_string(), None)?.template, "test").await?;
        let stored = engine.find_template("n", "t", None).await?.expect("the template is stored");
        for overlap in Overlap::ALL {
            let schedule = json!({ "namespace": "n", "template": "t", "cron": "* * * * *", "overlap": overlap });
            let name = overlap.as_str();
            engine.put_schedule(name, &serde_json::from_value(schedule)?, engine.now().await?, None).await?;
            let earlier = NewTask::new(stored.template_id, json!({}));
            engine.create_tasks(std::slice::from_ref(&earlier)).await?;
            make_due(&pool, name, 2, earlier.task_id).await?;
        }
        engine.fire_schedules(10, || None).await?;
        for overlap in Overlap::ALL {
            assert!(is_handled(&pool, overlap.as_str()).await?, "{overlap:?}");
        }
        let mut handled = handled(&pool).await?;
        handled.sort();
        assert_eq!(handled, [("created".to_owned(), 2), ("skipped".to_owned(), 1)]);
        assert_eq!(violations(&mut *pool.acquire().await?, 1).await?, Vec::<String>::new());
        for (rule, statement) in BROKEN {
            let mut transaction = pool.begin().await?;
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
            let found = violations(&mut transaction, 1).await?;
            assert!(found.iter().any(|line| line.starts_with(CHECKS[rule].0)), "{statement}: {found:#?}");
            transaction.rollback().await?;
        }
        Ok(())
    }
}
