//! Tasker's command line: the binaries `tasker-cli` and `config-builder`.
//!
//! - `arguments`: the commands;
//! - `commands`: one file for each command, with its arguments and its actions;
//! - `context`: options of all commands, such as the server's address;
//! - `failure`: errors with their exit codes;
//! - `input`, `output`, `progress`: reading and printing values;
//! - `stack`: PostgreSQL, server and worker in this process;
//! - `starters`: the projects that `tasker-cli new` makes.

mod arguments;
mod commands;
mod context;
mod failure;
mod input;
mod output;
mod progress;
mod stack;
mod starters;
mod task_id;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use commands::config;
use failure::Failure;

/// The binary `tasker-cli`: parses the command line, runs the command, and returns the exit code.
pub fn tasker_cli() -> ExitCode {
    let Arguments { context, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return unusable(error),
    };
    let json = context.json;
    finish("tasker-cli", json, run(dispatch(command, context)))
}

async fn dispatch(command: Command, context: context::Context) -> Result<(), Failure> {
    match command {
        Command::Task(command) => command.run(&context).await,
        Command::Bulk(command) => command.run(&context).await,
        Command::Step(command) => command.run(&context).await,
        Command::Template(command) => command.run(&context).await,
        Command::Dlq(command) => command.run(&context).await,
        Command::Schedule(command) => command.run(&context).await,
        Command::Gate(command) => command.run(&context).await,
        Command::Event(command) => command.run(&context).await,
        Command::Namespace(command) => command.run(&context).await,
        Command::Worker(command) => command.run(&context).await,
        Command::System(command) => command.run(&context).await,
        Command::Db(command) => command.run(&context).await,
        Command::Config(command) => command.run(&context),
        Command::New(command) => command.run(&context),
        Command::Dev(command) => command.run(&context).await,
        Command::Bench(command) => command.run(&context).await,
        Command::Demo(command) => command.run(&context).await,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tasker-cli", &mut text);
            output::print(String::from_utf8_lossy(&text).trim_end())
        }
    }
}

/// Help, the version, or wrong arguments. Only the last are errors, in JSON if the arguments ask for it.
fn unusable(error: clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ");
        return Failure::usage(text).report("tasker-cli", true);
    }
    error.exit()
}

/// The binary `config-builder`: the same as `tasker-cli config build`.
pub fn config_builder() -> ExitCode {
    /// Merges the base settings with those of an environment, and checks the result.
    #[derive(Parser)]
    #[command(name = "config-builder", version, after_help = arguments::EXIT_CODES)]
    struct Builder {
        #[command(flatten)]
        build: config::Build,
    }
    finish("config-builder", false, Builder::parse().build.run())
}

/// Runs a command on several threads, because the stacks of `dev`, `demo` and `bench` run in this process.
fn run(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(command)
}

fn finish(program: &str, json: bool, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(program, json),
    }
}
