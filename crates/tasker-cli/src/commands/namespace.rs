//! `tasker-cli namespace`

use clap::{Args, Subcommand};
use tasker_api::{NamespaceSummary, PatchNamespace};
use tasker_client::OrchestrationApiClient;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the namespaces with their queues and settings.
    List,
    /// Pause a namespace: none of its steps start, and running steps end.
    Pause(Named),
    /// Resume a paused namespace.
    Resume(Named),
    /// Set how long finished tasks of a namespace are kept.
    Retention {
        #[command(flatten)]
        named: Named,
        /// How many days; 0 means forever [default: as the settings of the server say].
        #[arg(long)]
        days: Option<u32>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The namespace.
    #[arg(long)]
    namespace: String,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (namespace, change) = match self {
            Self::List => {
                let list = context.orchestration()?.list_namespaces().await?;
                if context.json {
                    return output::print_json(&list);
                }
                return show(list.namespaces);
            }
            Self::Pause(named) => (named.namespace, PatchNamespace { paused: Some(true), ..Default::default() }),
            Self::Resume(named) => (named.namespace, PatchNamespace { paused: Some(false), ..Default::default() }),
            Self::Retention { named, days } => {
                (named.namespace, PatchNamespace { finished_tasks_days: Some(days), ..Default::default() })
            }
        };
        let changed = context.orchestration()?.patch_namespace(&namespace, &change).await?;
        if context.json { output::print_json(&changed) } else { show(vec![changed]) }
    }
}

fn show(namespaces: Vec<NamespaceSummary>) -> Result<(), Failure> {
    let rows = namespaces.into_iter().map(|space| {
        let paused = space.paused_at.map_or_else(String::new, output::time);
        let kept = match space.finished_tasks_days {
            None => String::new(),
            Some(0) => "forever".to_owned(),
            Some(days) => format!("{days} days"),
        };
        let events = space.event_queue.unwrap_or_default();
        [space.namespace, space.queue, events, space.templates.to_string(), paused, kept]
    });
    output::print(output::table(
        ["namespace", "queue", "events", "templates", "paused since (UTC)", "keeps finished tasks"],
        rows,
    ))
}
