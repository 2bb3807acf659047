//! Schedules: they create tasks at the times of a cron expression.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::check::{catch_up_seconds, priority};
use crate::tasks::tags_schema;

/// What happens at a time of a schedule while the task of an earlier time is still running.
///
/// A task that is blocked by failures is not running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// No task is created.
    #[default]
    Skip,
    /// A task is created. Both run.
    Allow,
    /// A task is created, and the earlier one is cancelled, also if it is blocked by failures.
    Cancel,
}

impl Overlap {
    /// Every rule.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Allow, Self::Cancel];

    /// The name used in the API, the command line and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Allow => "allow",
            Self::Cancel => "cancel",
        }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

fn an_hour() -> u32 {
    3600
}

/// The request `PUT /v1/schedules/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSchedule {
    /// The namespace of the template.
    pub namespace: String,
    /// The name of the template.
    pub template: String,
    /// The version of the template. If absent, each task gets the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When tasks are created: a cron expression with the fields minute, hour, day of the month, month, and day of the
    /// week, such as `0 2 * * *`.
    pub cron: String,
    /// The time zone of the expression, by its name in the IANA database, such as `Europe/Berlin`. `UTC` if absent.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What happens while an earlier task is still running. `skip` if absent.
    #[serde(default)]
    pub overlap: Overlap,
    /// How late a task may be created after an outage, in seconds. Of several missed times, only the last one is caught
    /// up. An hour if absent.
    #[serde(default = "an_hour", deserialize_with = "catch_up_seconds")]
    pub catch_up_seconds: u32,
    /// The input of the tasks. Empty if absent.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// The priority of the tasks, 0 to 100. One point is worth ten seconds of waiting. 0 if absent.
    #[serde(default, deserialize_with = "priority", skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// The tags of the tasks: an array of strings, or an object whose values are strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = tags_schema)]
    pub tags: Option<Value>,
    /// Whether the schedule creates no tasks for now.
    #[serde(default)]
    pub paused: bool,
}

/// What came of a time of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlotOutcome {
    /// A task was created.
    Created,
    /// The earlier task was still running.
    Skipped,
    /// The time was longer ago than `catch_up_seconds`.
    Missed,
    /// No task could be created; `last_error` says why.
    Failed,
}

/// A schedule, and what it did last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// The name, unique in the whole system.
    pub name: String,
    /// The namespace of the template.
    pub namespace: String,
    /// The name of the template.
    pub template: String,
    /// The version of the template. None means the newest one.
    pub version: Option<String>,
    /// The cron expression.
    pub cron: String,
    /// The time zone of the expression.
    pub timezone: String,
    /// What happens while an earlier task is still running.
    pub overlap: Overlap,
    /// How late a task may be created after an outage, in seconds.
    pub catch_up_seconds: u32,
    /// The input of the tasks.
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// The priority of the tasks.
    pub priority: i16,
    /// The tags of the tasks.
    #[schema(schema_with = tags_schema)]
    pub tags: Option<Value>,
    /// Whether the schedule creates no tasks for now.
    pub paused: bool,
    /// When the next task is due. Without meaning while the schedule is paused.
    pub next_at: DateTime<Utc>,
    /// The last time that was handled.
    pub last_slot: Option<DateTime<Utc>>,
    /// What came of it.
    pub last_outcome: Option<SlotOutcome>,
    /// Why no task could be created.
    pub last_error: Option<String>,
    /// The task that the schedule created last. It may have been deleted since.
    pub last_task_uuid: Option<Uuid>,
    /// When the schedule was created.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// The response to `GET /v1/schedules`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ScheduleList {
    /// The schedules, by name.
    pub schedules: Vec<Schedule>,
}

impl From<Schedule> for PutSchedule {
    /// The request that stores the same schedule again.
    fn from(schedule: Schedule) -> Self {
        Self {
            namespace: schedule.namespace,
            template: schedule.template,
            version: schedule.version,
            cron: schedule.cron,
            timezone: schedule.timezone,
            overlap: schedule.overlap,
            catch_up_seconds: schedule.catch_up_seconds,
            context: schedule.context,
            priority: Some(schedule.priority),
            tags: schedule.tags,
            paused: schedule.paused,
        }
    }
}
