//! `tasker-cli dev`

use std::path::PathBuf;

use clap::Args;
use tasker_runtime::settings::Settings;
use tasker_runtime::{logging, shutdown};

use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::stack::Stack;

#[derive(Debug, Args)]
pub(crate) struct Command {
    /// The server's port; 0 chooses a free one [default: 8080].
    #[arg(long)]
    port: Option<u16>,
    /// The port of the worker's status API; 0 chooses a free one [default: 8081].
    #[arg(long)]
    worker_port: Option<u16>,
    /// The folder of PostgreSQL's data, if neither DATABASE_URL nor the settings name a database.
    #[arg(long, default_value = ".tasker/postgresql")]
    data_dir: PathBuf,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut settings = Settings::load(None)?;
        settings.orchestration.port = self.port.unwrap_or(settings.orchestration.port);
        settings.worker.port = self.worker_port.unwrap_or(settings.worker.port);
        logging::init(&settings.logging).map_err(Failure::usage)?;

        let interrupt =
            shutdown::on_signal().map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
        let stack = tokio::select! {
            biased;
            () = interrupt.cancelled() => return Err(Failure::interrupted()),
            stack = Stack::start(settings, Some(self.data_dir)) => stack?,
        };
        let printed = welcome(context, &stack);
        if printed.is_ok() {
            interrupt.cancelled().await;
        }
        stack.stop().await?;
        printed
    }
}

fn welcome(context: &Context, stack: &Stack) -> Result<(), Failure> {
    let Stack { url, worker_url, database_url, .. } = stack;
    if context.json {
        return output::print_json(&serde_json::json!({
            "orchestration_url": url, "worker_url": worker_url, "database_url": database_url,
        }));
    }
    // Commands find the default addresses without variables.
    let variables = if url.ends_with(":8080") && worker_url.ends_with(":8081") {
        String::new()
    } else {
        format!("  export TASKER_ORCHESTRATION_URL={url} TASKER_WORKER_URL={worker_url}\n")
    };
    output::print(format!(
        "
Tasker is running. Press Ctrl-C to stop it.

  console   {url}/
  server    {url}   (API: {url}/openapi.json, health: {url}/health)
  worker    {worker_url}
  database  {database_url}

In another terminal, try:

{variables}  tasker-cli task create --namespace linear_workflow --name mathematical_sequence --input '{{\"even_number\": 6}}' --wait
  tasker-cli task list
  tasker-cli template list
  tasker-cli system health
"
    ))
}
