//! `tasker-cli schedule`

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::Value;
use tasker_api::{Overlap, PutSchedule, Schedule};
use tasker_client::OrchestrationApiClient;

use super::task;
use crate::context::Context;
use crate::failure::Failure;
use crate::{input, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store a schedule, or replace it.
    Set(Box<Set>),
    /// List the schedules.
    List {
        /// Only schedules of this namespace.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Show a schedule, when it is due, and what it did last.
    Show(Named),
    /// Create a task as the schedule does, now and in addition.
    Trigger(Named),
    /// Stop creating tasks until the schedule is resumed.
    Pause(Named),
    /// Create tasks again. The times of the pause are not caught up.
    Resume(Named),
    /// Delete a schedule. Its tasks are kept.
    Delete(Named),
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The schedule's name.
    #[arg(long)]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The schedule's name, unique in the whole system.
    #[arg(long)]
    name: String,
    /// The template's namespace.
    #[arg(long)]
    namespace: String,
    /// The template's name.
    #[arg(long)]
    template: String,
    /// The template's version [default: the newest at each time].
    #[arg(long)]
    version: Option<String>,
    /// When: minute, hour, day of the month, month, day of the week, such as "0 2 * * *".
    #[arg(long)]
    cron: String,
    /// The time zone, such as Europe/Berlin.
    #[arg(long, default_value = "UTC")]
    timezone: String,
    /// What happens while an earlier task is still running.
    #[arg(long, default_value = "skip", value_parser = PossibleValuesParser::new(Overlap::ALL.map(Overlap::as_str)))]
    overlap: String,
    /// How late a task may be created after an outage, in seconds.
    #[arg(long, default_value_t = 3600)]
    catch_up_seconds: u32,
    /// The input of the tasks: a JSON object, or @FILE, or - for standard input.
    #[arg(long, default_value = "{}")]
    context: String,
    /// The priority of the tasks, 0 to 100.
    #[arg(long, default_value_t = 0)]
    priority: i16,
    /// A tag of the tasks; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.orchestration()?;
        match self {
            Self::Set(set) => {
                let (name, schedule) = set.schedule()?;
                show(context, &client.put_schedule(&name, &schedule).await?)
            }
            Self::List { namespace } => {
                let list = client.list_schedules(namespace.as_deref()).await?;
                if context.json {
                    return output::print_json(&list);
                }
                let rows = list.schedules.into_iter().map(|schedule| {
                    let next = if schedule.paused { "paused".to_owned() } else { output::time(schedule.next_at) };
                    let last = outcome(&schedule).unwrap_or_default();
                    let template = format!("{}/{}", schedule.namespace, schedule.template);
                    [schedule.name, template, schedule.cron, schedule.timezone, next, last]
                });
                output::print(output::table(["name", "template", "cron", "time zone", "next (UTC)", "last"], rows))
            }
            Self::Show(Named { name }) => show(context, &client.get_schedule(&name).await?),
            Self::Trigger(Named { name }) => task::acted(context, &client.trigger_schedule(&name).await?),
            Self::Pause(Named { name }) => set_paused(context, &name, true).await,
            Self::Resume(Named { name }) => set_paused(context, &name, false).await,
            Self::Delete(Named { name }) => {
                client.delete_schedule(&name).await?;
                if context.json { Ok(()) } else { output::print(output::clean(&format!("{name}: deleted"))) }
            }
        }
    }
}

impl Set {
    fn schedule(self) -> Result<(String, PutSchedule), Failure> {
        let context = input::object("--context", &self.context)?;
        let overlap = Overlap::ALL.into_iter().find(|overlap| overlap.as_str() == self.overlap).unwrap_or_default();
        let schedule = PutSchedule {
            namespace: self.namespace,
            template: self.template,
            version: self.version,
            cron: self.cron,
            timezone: self.timezone,
            overlap,
            catch_up_seconds: self.catch_up_seconds,
            context,
            priority: Some(self.priority),
            tags: (!self.tags.is_empty()).then(|| Value::from(self.tags)),
            paused: false,
        };
        Ok((self.name, schedule))
    }
}

async fn set_paused(context: &Context, name: &str, paused: bool) -> Result<(), Failure> {
    let client = context.orchestration()?;
    let stored = client.get_schedule(name).await?;
    let changed = PutSchedule { paused, ..stored.into() };
    show(context, &client.put_schedule(name, &changed).await?)
}

/// What the schedule did last.
fn outcome(schedule: &Schedule) -> Option<String> {
    let outcome = serde_json::to_value(schedule.last_outcome?).ok()?.as_str()?.to_owned();
    Some(match &schedule.last_error {
        Some(error) => format!("{outcome}: {error}"),
        None => outcome,
    })
}

fn show(context: &Context, schedule: &Schedule) -> Result<(), Failure> {
    if context.json {
        return output::print_json(schedule);
    }
    let version = schedule.version.as_deref().unwrap_or("the newest version");
    output::print(output::facts([
        ("schedule", Some(schedule.name.clone())),
        ("template", Some(format!("{}/{}, {version}", schedule.namespace, schedule.template))),
        ("cron", Some(format!("{} ({})", schedule.cron, schedule.timezone))),
        ("overlap", Some(schedule.overlap.as_str().to_owned())),
        ("catch up", Some(format!("{} s", schedule.catch_up_seconds))),
        ("context", Some(output::short(&Value::Object(schedule.context.clone())))),
        ("next (UTC)", Some(if schedule.paused { "paused".to_owned() } else { output::time(schedule.next_at) })),
        ("last (UTC)", schedule.last_slot.map(output::time)),
        ("outcome", outcome(schedule)),
        ("last task", schedule.last_task_uuid.map(|task| task.to_string())),
    ]))
}
