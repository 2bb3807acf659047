//! Schedules: storing them, and creating their tasks.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use tasker_api::{PutSchedule, Schedule};
use tasker_template::InputValidator;
use uuid::Uuid;

use crate::Engine;
use crate::arguments::count;
use crate::cron::{Cron, CronError};
use crate::statements::statements;

/// The columns of a [`Schedule`] as JSON.
macro_rules! schedule_json {
    () => {
        "jsonb_build_object(
            'name', s.name, 'namespace', s.namespace, 'template', s.template, 'version', s.version, 'cron', s.cron,
            'timezone', s.timezone, 'overlap', s.overlap, 'catch_up_seconds', s.catch_up_seconds, 'context', s.context,
            'priority', s.priority, 'tags', s.tags, 'paused', s.paused, 'next_at', s.next_at, 'last_slot', s.last_slot,
            'last_outcome', s.last_outcome, 'last_error', s.last_error, 'last_task_uuid', s.last_task_id,
            'created_at', s.created_at, 'updated_at', s.updated_at)"
    };
}

statements! {
    NOW = "select tasker.now()";
    // A schedule keeps its next slot while its times do not change: storing it again skips none.
    PUT_SCHEDULE = concat!("insert into tasker.schedules as s (
            name, namespace, template, version, cron, timezone, overlap, catch_up_seconds, context, priority, tags,
            paused, next_at, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, tasker.now(), tasker.now())
        on conflict (name) do update
        set namespace = excluded.namespace, template = excluded.template, version = excluded.version,
            cron = excluded.cron, timezone = excluded.timezone, overlap = excluded.overlap,
            catch_up_seconds = excluded.catch_up_seconds, context = excluded.context, priority = excluded.priority,
            tags = excluded.tags, paused = excluded.paused, updated_at = excluded.updated_at,
            next_at = case
                when (s.cron, s.timezone, s.paused) = (excluded.cron, excluded.timezone, false) then s.next_at
                else excluded.next_at
            end
        where $14::text[] is null or s.namespace = any ($14)
        returning xmax = 0 as is_new, ", schedule_json!(), " as schedule");
    GET_SCHEDULE = concat!("select ", schedule_json!(), " from tasker.schedules s where s.name = $1");
    LIST_SCHEDULES = concat!("select ", schedule_json!(), " from tasker.schedules s
        where $1::text[] is null or s.namespace = any ($1) order by s.name");
    DELETE_SCHEDULE = "delete from tasker.schedules where name = $1";
    DUE_SCHEDULES = "select s.name, s.cron, s.timezone, s.catch_up_seconds, s.context, s.next_at, tasker.now() as now,
            s.version is null as latest, t.template_id, nullif(t.definition -> 'input_schema', 'null') as input_schema
        from tasker.schedules s
        left join lateral (
            select l.template_id, l.definition from tasker.task_templates l
            where l.namespace = s.namespace and l.name = s.template and (s.version is null or l.version = s.version)
            order by l.version_key desc limit 1
        ) t on true
        where not s.paused and s.next_at <= tasker.now()
        order by s.next_at limit $1";
    FIRE_SCHEDULES = "select name, namespace, template, slot, outcome, task_id, error
        from tasker.fire_schedules($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    /// Null without schedules: `greatest` alone would ignore the null and say that one is due.
    NEXT_SCHEDULE = "select case when min(next_at) is not null
            then greatest(extract(epoch from min(next_at) - tasker.now()), 0)::float8 end
        from tasker.schedules where not paused";
}

/// The outcome of storing a schedule.
#[derive(Debug, Clone, PartialEq)]
pub enum PutOutcome {
    /// The schedule is new.
    Created(Schedule),
    /// The schedule existed and was replaced.
    Replaced(Schedule),
    /// A schedule of another namespace has this name.
    Taken,
}

/// What came of the due time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiredSchedule {
    /// The name of the schedule.
    pub name: String,
    /// The namespace of its template.
    pub namespace: String,
    /// The name of its template.
    pub template: String,
    /// The time that was handled. None if all due times were missed.
    pub slot: Option<DateTime<Utc>>,
    /// The outcome.
    pub outcome: FiredOutcome,
    /// Where the trace of its task begins.
    pub traceparent: Option<String>,
}

/// The outcome of a due time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FiredOutcome {
    /// A task was created.
    Created(Uuid),
    /// The earlier task was still running.
    Skipped,
    /// The time was too long ago.
    Missed,
    /// No task could be created, for this reason.
    Failed(String),
    /// The template has got a newer version. The time is still due.
    Outdated,
}

#[derive(FromRow)]
struct DueRow {
    name: String,
    cron: String,
    timezone: String,
    catch_up_seconds: i32,
    context: Value,
    next_at: DateTime<Utc>,
    now: DateTime<Utc>,
    latest: bool,
    template_id: Option<i64>,
    input_schema: Option<Value>,
}

#[derive(FromRow)]
struct FiredRow {
    name: String,
    namespace: String,
    template: String,
    slot: Option<DateTime<Utc>>,
    outcome: String,
    task_id: Option<Uuid>,
    error: Option<String>,
}

impl DueRow {
    /// The slot to handle, and the next one.
    fn slot(&self) -> Result<(Option<DateTime<Utc>>, DateTime<Utc>), CronError> {
        let cron = Cron::parse(&self.cron, &self.timezone)?;
        cron.slot(self.next_at, self.now, TimeDelta::seconds(self.catch_up_seconds.into()))
    }

    /// Why a task cannot be created, if so.
    fn error(&self) -> Option<String> {
        if self.template_id.is_none() {
            return Some("the template, or this version of it, does not exist".to_owned());
        }
        let validator = match InputValidator::new(self.input_schema.as_ref()?) {
            Ok(validator) => validator,
            Err(error) => return Some(format!("the input_schema of the template cannot be read: {error}")),
        };
        let errors = validator.validate(&self.context).err()?;
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Some(format!("the context does not match the input_schema of the template: {}", errors.join("; ")))
    }
}

impl FiredRow {
    fn with_traceparent(self, traceparent: Option<String>) -> FiredSchedule {
        let Self { name, namespace, template, slot, outcome, task_id, error } = self;
        let outcome = match (outcome.as_str(), task_id) {
            ("created", Some(task)) => FiredOutcome::Created(task),
            ("skipped", _) => FiredOutcome::Skipped,
            ("missed", _) => FiredOutcome::Missed,
            ("outdated", _) => FiredOutcome::Outdated,
            _ => FiredOutcome::Failed(error.unwrap_or_default()),
        };
        FiredSchedule { name, namespace, template, slot, outcome, traceparent }
    }
}

impl Engine {
    /// The time on the engine's clock.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn now(&self) -> sqlx::Result<DateTime<Utc>> {
        sqlx::query_scalar(NOW).fetch_one(&self.pool).await
    }

    /// Stores a schedule, whose first time is `next_at`, or replaces the one of this name. Only a schedule of these
    /// `namespaces` is replaced; None means any.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_schedule(
        &self,
        name: &str,
        schedule: &PutSchedule,
        next_at: DateTime<Utc>,
        namespaces: Option<&[String]>,
    ) -> sqlx::Result<PutOutcome> {
        let row: Option<(bool, Json<Schedule>)> = sqlx::query_as(PUT_SCHEDULE)
            .bind(name)
            .bind(&schedule.namespace)
            .bind(&schedule.template)
            .bind(&schedule.version)
            .bind(&schedule.cron)
            .bind(&schedule.timezone)
            .bind(schedule.overlap.as_str())
            .bind(count(schedule.catch_up_seconds))
            .bind(Json(&schedule.context))
            .bind(schedule.priority.unwrap_or(0))
            .bind(&schedule.tags)
            .bind(schedule.paused)
            .bind(next_at)
            .bind(namespaces)
            .fetch_optional(&self.pool)
            .await?;
        Ok(match row {
            Some((true, schedule)) => PutOutcome::Created(schedule.0),
            Some((false, schedule)) => PutOutcome::Replaced(schedule.0),
            None => PutOutcome::Taken,
        })
    }

    /// Returns a schedule. None if it does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_schedule(&self, name: &str) -> sqlx::Result<Option<Schedule>> {
        let row: Option<Json<Schedule>> =
            sqlx::query_scalar(GET_SCHEDULE).bind(name).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.0))
    }

    /// Lists the schedules of some namespaces by name. None means every namespace.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_schedules(&self, namespaces: Option<&[String]>) -> sqlx::Result<Vec<Schedule>> {
        let rows: Vec<Json<Schedule>> =
            sqlx::query_scalar(LIST_SCHEDULES).bind(namespaces).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// Deletes a schedule. Its tasks are kept. Returns whether it existed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_schedule(&self, name: &str) -> sqlx::Result<bool> {
        Ok(sqlx::query(DELETE_SCHEDULE).bind(name).execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Creates the tasks of up to `limit` schedules whose time has come. Of many servers that call it, one handles each
    /// time. Returns what this call handled; more may be due. `begin` tells where the trace of a task begins, if it has one.
    ///
    /// # Errors
    /// When the database fails. Then nothing is created.
    pub async fn fire_schedules(
        &self,
        limit: u32,
        begin: impl Fn() -> Option<String>,
    ) -> sqlx::Result<Vec<FiredSchedule>> {
        let due: Vec<DueRow> = sqlx::query_as(DUE_SCHEDULES).bind(count(limit)).fetch_all(&self.pool).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let slots: Vec<_> = due
            .iter()
            .map(|row| match row.slot() {
                Ok((slot, next)) => (slot, next, row.error()),
                // The expression was checked when it was stored. A newer release or time zone database may differ.
                // Such a schedule tries again in an hour, and shows why it does not work.
                Err(error) => (Some(row.next_at), row.now + TimeDelta::hours(1), Some(error.to_string())),
            })
            .collect();
        let mut traces: HashMap<_, _> = due.iter().map(|row| (row.name.as_str(), begin())).collect();
        let rows: Vec<FiredRow> = sqlx::query_as(FIRE_SCHEDULES)
            .bind(due.iter().map(|row| row.name.as_str()).collect::<Vec<_>>())
            .bind(due.iter().map(|row| row.next_at).collect::<Vec<_>>())
            .bind(slots.iter().map(|(slot, ..)| *slot).collect::<Vec<_>>())
            .bind(slots.iter().map(|(_, next, _)| *next).collect::<Vec<_>>())
            .bind(due.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
            .bind(due.iter().map(|row| row.template_id).collect::<Vec<_>>())
            .bind(due.iter().map(|row| row.latest).collect::<Vec<_>>())
            .bind(slots.iter().map(|(.., error)| error.as_deref()).collect::<Vec<_>>())
            .bind(due.iter().map(|row| traces[row.name.as_str()].as_deref()).collect::<Vec<_>>())
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let traceparent = traces.remove(row.name.as_str()).flatten();
                row.with_traceparent(traceparent)
            })
            .collect())
    }

    /// Returns the time until the next schedule is due: zero if one is, and None if there is no active schedule.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_schedule(&self) -> sqlx::Result<Option<Duration>> {
        let seconds: Option<f64> = sqlx::query_scalar(NEXT_SCHEDULE).fetch_one(&self.pool).await?;
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
    }
}
