//! `tasker-cli dev`

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use tasker_runtime::settings::Settings;
use tasker_runtime::{logging, shutdown, telemetry};

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
    /// Keep PostgreSQL's data in a temporary folder, for tests. It is removed however this process ends.
    #[arg(long, conflicts_with = "data_dir")]
    temporary: bool,
    /// Do not run the sample worker, because your own worker runs.
    #[arg(long, conflicts_with = "worker_port")]
    no_worker: bool,
    /// Write DATABASE_URL and TASKER_ORCHESTRATION_URL to this file, for `. FILE` in a shell. Removed at the end.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut settings = Settings::load(None)?;
        settings.orchestration.port = self.port.unwrap_or(settings.orchestration.port);
        settings.worker.port = self.worker_port.unwrap_or(settings.worker.port);
        telemetry::start(&settings.telemetry, "tasker-cli").map_err(Failure::usage)?;
        logging::init(&settings.logging).map_err(Failure::usage)?;

        let interrupt =
            shutdown::on_signal().map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
        let data_dir = (!self.temporary).then_some(self.data_dir);
        let stack = tokio::select! {
            biased;
            () = interrupt.cancelled() => return Err(Failure::interrupted()),
            stack = Stack::start(settings, data_dir, !self.no_worker) => stack?,
        };
        let env_file = self.env_file.map(|path| EnvFile::write(path, &stack)).transpose();
        let started = env_file.and_then(|file| welcome(context, &stack).map(|()| file));
        if started.is_ok() {
            interrupt.cancelled().await;
        }
        stack.stop().await?;
        started.map(drop)
    }
}

/// A file with the addresses of a stack, which is removed when this value is dropped.
struct EnvFile(PathBuf);

impl EnvFile {
    fn write(path: PathBuf, stack: &Stack) -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format!("cannot write {}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        // Only for this user, because the address of the database has its password.
        let mut file =
            fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
        writeln!(file, "DATABASE_URL={}", quoted(&stack.database_url)).map_err(failed)?;
        writeln!(file, "TASKER_ORCHESTRATION_URL={}", quoted(&stack.url)).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        // If it cannot be removed, its addresses lead nowhere.
        let _ = fs::remove_file(&self.0);
    }
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn welcome(context: &Context, stack: &Stack) -> Result<(), Failure> {
    let Stack { url, worker_url, database_url, .. } = stack;
    if context.json {
        return output::print_json(&serde_json::json!({
            "orchestration_url": url, "worker_url": worker_url, "database_url": database_url,
        }));
    }
    let worker_line = match worker_url {
        Some(worker_url) => format!("  worker    {worker_url}\n"),
        None => String::new(),
    };
    // Commands find the default addresses without variables.
    let mut variables = String::new();
    if !url.ends_with(":8080") {
        variables.push_str(&format!(" TASKER_ORCHESTRATION_URL={url}"));
    }
    if let Some(worker_url) = worker_url.as_ref().filter(|worker_url| !worker_url.ends_with(":8081")) {
        variables.push_str(&format!(" TASKER_WORKER_URL={worker_url}"));
    }
    if !variables.is_empty() {
        variables = format!("  export{variables}\n");
    }
    // Without the sample worker, nothing would run its workflows.
    let create = match worker_url {
        Some(_) => {
            "  tasker-cli task create --namespace linear_workflow --name mathematical_sequence \
             --input '{\"even_number\": 6}' --wait\n"
        }
        None => "",
    };
    output::print(format!(
        "
Tasker is running. Press Ctrl-C to stop it.

  console   {url}/
  server    {url}   (API: {url}/openapi.json, health: {url}/health)
{worker_line}  database  {database_url}

In another terminal, try:

{variables}{create}  tasker-cli task list
  tasker-cli template list
  tasker-cli system health
"
    ))
}
