//! What can be said on the command line.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::{bench, config, database, demo, dev, namespace, step, system, task, template, worker};
use crate::context::Context;

/// Explains exit codes in `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  it did not succeed: a task did not complete, something is unhealthy, a template is wrong, ...
    2  wrong usage or bad input
    3  the server, worker or database cannot be reached
  130  interrupted by Ctrl-C or SIGTERM";

const SETTINGS: &str = "\
Settings come from flags, then the environment (TASKER_ORCHESTRATION_URL, TASKER_WORKER_URL,
TASKER_API_KEY), then ~/.tasker/config.toml (orchestration_url, worker_url, api_key), then defaults.";

/// Run and operate workflows with Tasker.
#[derive(Debug, Parser)]
#[command(name = "tasker-cli", version, after_help = format!("{SETTINGS}\n\n{EXIT_CODES}"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) context: Context,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the five sample workflows: brings PostgreSQL, server and worker, shows the results, and leaves nothing behind.
    Demo(demo::Command),
    /// Run PostgreSQL, server and sample worker here until Ctrl-C; the data is kept.
    Dev(dev::Command),
    /// Measure a stack of its own, on a throw-away PostgreSQL or the one of DATABASE_URL.
    Bench(bench::Command),
    /// Create tasks, look at them, and end or repeat them.
    #[command(subcommand)]
    Task(task::Command),
    /// Repeat failed steps, or give steps a result by hand.
    #[command(subcommand)]
    Step(step::Command),
    /// Check task templates, store them, and look at them.
    #[command(subcommand)]
    Template(template::Command),
    /// Look at namespaces.
    #[command(subcommand)]
    Namespace(namespace::Command),
    /// Look at workers.
    #[command(subcommand)]
    Worker(worker::Command),
    /// Look at the system as a whole.
    #[command(subcommand)]
    System(system::Command),
    /// Prepare the database.
    #[command(subcommand)]
    Db(database::Command),
    /// Merge, check and show settings files.
    #[command(subcommand)]
    Config(config::Command),
    /// Print a script that completes commands in your shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
