//! `tasker-cli dlq`

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use tasker_api::{DeadLetter, ListDeadLetters, OpenDeadLetter, PatchDeadLetter, ResolutionStatus};
use tasker_client::OrchestrationApiClient;
use uuid::Uuid;

use super::Operator;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List investigations, newest first.
    List(List),
    /// Show an investigation.
    Get {
        /// The investigation's id.
        #[arg(long)]
        id: Uuid,
    },
    /// Open an investigation of a task.
    Open {
        /// The task's id.
        #[arg(long)]
        task: Uuid,
        /// What is known.
        #[arg(long)]
        notes: Option<String>,
    },
    /// Close an investigation, or open it again.
    Resolve {
        /// The investigation's id.
        #[arg(long)]
        id: Uuid,
        /// Its new status.
        #[arg(long, value_parser = PossibleValuesParser::new(ResolutionStatus::ALL.map(ResolutionStatus::as_str)))]
        status: String,
        /// What was found out.
        #[arg(long)]
        notes: Option<String>,
        /// Your name [default: the user's name].
        #[arg(long)]
        actor: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only tasks of this namespace.
    #[arg(long)]
    namespace: Option<String>,
    /// Only investigations with this status.
    #[arg(long, value_parser = PossibleValuesParser::new(ResolutionStatus::ALL.map(ResolutionStatus::as_str)))]
    status: Option<String>,
    /// Only investigations of this task.
    #[arg(long)]
    task: Option<Uuid>,
    /// How many entries at most, 1 to 500.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=500))]
    limit: i64,
    /// The cursor that the previous page printed.
    #[arg(long)]
    cursor: Option<Uuid>,
}

fn status(name: &str) -> Option<ResolutionStatus> {
    ResolutionStatus::ALL.into_iter().find(|status| status.as_str() == name)
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.orchestration()?;
        match self {
            Self::List(List { namespace, status: name, task, limit, cursor }) => {
                let resolution_status = name.as_deref().and_then(status);
                let filter =
                    ListDeadLetters { namespace, resolution_status, task_uuid: task, limit: Some(limit), cursor };
                let list = client.list_dead_letters(&filter).await?;
                if context.json {
                    return output::print_json(&list);
                }
                show(list.entries)?;
                if let Some(cursor) = list.next_cursor {
                    output::note(format!("more: --cursor {cursor}"));
                }
                Ok(())
            }
            Self::Get { id } => {
                let entry = client.get_dead_letter(id).await?;
                if context.json { output::print_json(&entry) } else { show_one(entry) }
            }
            Self::Open { task, notes } => {
                let request = OpenDeadLetter { task_uuid: task, resolution_notes: notes };
                changed(context, client.open_dead_letter(&request).await?)
            }
            Self::Resolve { id, status: name, notes, actor } => {
                let change = PatchDeadLetter {
                    resolution_status: status(&name),
                    resolution_notes: notes,
                    metadata: None,
                    resolved_by: Operator::of(actor).action().actor,
                };
                changed(context, client.patch_dead_letter(id, &change).await?)
            }
        }
    }
}

fn changed(context: &Context, entry: DeadLetter) -> Result<(), Failure> {
    if context.json { output::print_json(&entry) } else { show(vec![entry]) }
}

fn show_one(entry: DeadLetter) -> Result<(), Failure> {
    let reason = serde_json::to_value(entry.dlq_reason).unwrap_or_default();
    let metadata = entry.metadata.map(|metadata| output::short(&metadata.into()));
    output::print(output::facts([
        ("investigation", Some(entry.dlq_entry_uuid.to_string())),
        ("task", Some(entry.task_uuid.to_string())),
        ("template", Some(format!("{}/{} {}", entry.namespace, entry.name, entry.version))),
        ("reason", Some(output::short(&reason))),
        ("task was", Some(entry.original_state.to_string())),
        ("task is", Some(entry.current_state.to_string())),
        ("status", Some(entry.resolution_status.as_str().to_owned())),
        ("notes", entry.resolution_notes),
        ("metadata", metadata),
        ("opened (UTC)", Some(output::time(entry.created_at))),
        ("closed by", entry.resolved_by),
        ("closed (UTC)", entry.resolved_at.map(output::time)),
    ]))
}

fn show(entries: Vec<DeadLetter>) -> Result<(), Failure> {
    let rows = entries.into_iter().map(|entry| {
        let reason = serde_json::to_value(entry.dlq_reason).unwrap_or_default();
        [
            entry.dlq_entry_uuid.to_string(),
            entry.task_uuid.to_string(),
            format!("{}/{}", entry.namespace, entry.name),
            output::short(&reason),
            entry.resolution_status.as_str().to_owned(),
            entry.current_state.to_string(),
            output::time(entry.created_at),
            entry.resolution_notes.unwrap_or_default(),
        ]
    });
    let header = ["id", "task", "template", "reason", "status", "task is", "opened (UTC)", "notes"];
    output::print(output::table(header, rows))
}
