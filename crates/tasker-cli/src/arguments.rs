//! The commands of the command line.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::{
    bench, bulk, config, database, demo, dev, dlq, event, gate, namespace, new, schedule, step, system, task, template,
    worker,
};
use crate::context::Context;

/// Explains exit codes in `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed: a task did not complete, something is unhealthy, a template is wrong, ...
    2  wrong usage or bad input
    3  the server, worker or database cannot be reached
    4  the database must be migrated first, or is too old to be migrated
    5  the database is newer than this program
  130  interrupted by Ctrl-C or SIGTERM

With --json, an error is one JSON object, on the last line of standard error.";

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
    /// Run the ten sample workflows on a temporary PostgreSQL, server and worker, and show the results.
    Demo(demo::Command),
    /// Make a new project: a small service that creates tasks and runs their steps.
    New(new::Command),
    /// Run PostgreSQL, server and sample worker until Ctrl-C; keeps the data.
    Dev(dev::Command),
    /// Benchmark a temporary stack, on a temporary PostgreSQL or the one of DATABASE_URL.
    Bench(bench::Command),
    /// Create, show, cancel and retry tasks.
    #[command(subcommand)]
    Task(task::Command),
    /// Retry, cancel or fail all tasks that match.
    #[command(subcommand)]
    Bulk(bulk::Command),
    /// Show why steps wait, retry failed steps, or resolve steps manually.
    #[command(subcommand)]
    Step(step::Command),
    /// Check, store and show task templates.
    #[command(subcommand)]
    Template(template::Command),
    /// Investigate tasks that do not go on by themselves (dead letters).
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Create tasks at the times of a cron expression.
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Show gates, and set how many steps run at once or start in a time.
    #[command(subcommand)]
    Gate(gate::Command),
    /// Show the domain events of a namespace.
    #[command(subcommand)]
    Event(event::Command),
    /// Show, pause and resume namespaces.
    #[command(subcommand)]
    Namespace(namespace::Command),
    /// Show workers.
    #[command(subcommand)]
    Worker(worker::Command),
    /// Show the health and the versions of the system.
    #[command(subcommand)]
    System(system::Command),
    /// Prepare the database.
    #[command(subcommand)]
    Db(database::Command),
    /// Merge, check and show settings files.
    #[command(subcommand)]
    Config(config::Command),
    /// Print a completion script for your shell.
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
