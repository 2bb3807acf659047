//! `tasker-cli namespace`

use clap::Subcommand;
use tasker_client::OrchestrationApiClient;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the namespaces with their queues.
    List,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self::List = self;
        let list = context.orchestration()?.list_namespaces().await?;
        if context.json {
            return output::print_json(&list);
        }
        let rows = list.namespaces.into_iter().map(|space| [space.namespace, space.queue, space.templates.to_string()]);
        output::print(output::table(["namespace", "queue", "templates"], rows))
    }
}
