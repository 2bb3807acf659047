//! `tasker-cli bulk`

use clap::{Args, Subcommand};
use tasker_api::{BulkAction, BulkJob, CreateBulkJob, OperatorAction, TaskConditions};
use tasker_client::OrchestrationApiClient;
use uuid::Uuid;

use super::Operator;
use super::task::Conditions;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Retry all failed steps of the tasks that match.
    Retry(Job),
    /// Cancel the tasks that match.
    Cancel(Job),
    /// Fail the tasks that match and are blocked by failures.
    Fail(Job),
    /// List the newest jobs.
    List,
    /// Show a job.
    Get {
        /// The job's id.
        #[arg(long)]
        id: Uuid,
    },
    /// Stop a job. What it has done stays.
    Stop {
        /// The job's id.
        #[arg(long)]
        id: Uuid,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Job {
    #[command(flatten)]
    conditions: Conditions,
    /// Only count the tasks.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    operator: Operator,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.orchestration()?;
        match self {
            Self::Retry(job) => job.run(context, BulkAction::Retry).await,
            Self::Cancel(job) => job.run(context, BulkAction::Cancel).await,
            Self::Fail(job) => job.run(context, BulkAction::Fail).await,
            Self::List => {
                let list = client.list_bulk_jobs().await?;
                if context.json { output::print_json(&list) } else { output::print(table(&list.jobs)) }
            }
            Self::Get { id } => show(context, client.get_bulk_job(id).await?),
            Self::Stop { id } => show(context, client.stop_bulk_job(id).await?),
        }
    }
}

impl Job {
    async fn run(self, context: &Context, action: BulkAction) -> Result<(), Failure> {
        let Conditions { namespace, status, template, tag, created_after, created_before } = self.conditions;
        let filter = TaskConditions {
            namespace,
            status,
            template,
            tag,
            created_after,
            created_before,
            ..TaskConditions::default()
        };
        let OperatorAction { actor, reason } = self.operator.action();
        let job = CreateBulkJob { action, filter, dry_run: self.dry_run, actor, reason };
        let client = context.orchestration()?;
        if !self.dry_run {
            return show(context, client.create_bulk_job(&job).await?);
        }
        let preview = client.preview_bulk_job(&job).await?;
        if context.json {
            return output::print_json(&preview);
        }
        output::print(counted(preview.matched, preview.complete))
    }
}

/// How many tasks match. The server counts for a moment only; a job does not stop there.
fn counted(matched: i64, complete: bool) -> String {
    match (matched, complete) {
        (1, true) => "1 task matches.".to_owned(),
        (matched, true) => format!("{matched} tasks match."),
        (0, false) => "The server found no task in the time that it counts. The job looks at all tasks.".to_owned(),
        (matched, false) => {
            format!("At least {matched} tasks match: the server stopped counting. The job acts on all that match.")
        }
    }
}

fn show(context: &Context, job: BulkJob) -> Result<(), Failure> {
    if context.json { output::print_json(&job) } else { output::print(table(&[job])) }
}

fn table(jobs: &[BulkJob]) -> String {
    let rows = jobs.iter().map(|job| {
        [
            job.id.to_string(),
            job.action.as_str().to_owned(),
            serde_json::to_value(job.status).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default(),
            job.done.to_string(),
            job.skipped.to_string(),
            output::time(job.created_at),
            job.error.clone().or_else(|| job.reason.clone()).unwrap_or_default(),
        ]
    });
    output::table(["job", "action", "status", "done", "skipped", "created (UTC)", "why"], rows)
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn a_count_that_stopped_says_so() {
        assert_eq!([counted(0, true), counted(1, true)], ["0 tasks match.", "1 task matches."]);
        assert!(counted(37, false).starts_with("At least 37 tasks match: the server stopped counting."));
        assert!(!counted(0, false).contains("0 tasks"));
    }
}
