//! The command line of Tasker: binaries `tasker-cli` and `config-builder`.
//!
//! - `arguments`: what can be said on the command line;
//! - `commands`: one file per resource, each with its arguments and what they do;
//! - `context`: which server and worker are asked;
//! - `failure`: errors with their exit codes;
//! - `input`, `output`, `progress`: values read and shown;
//! - `stack`: PostgreSQL, server and worker in this process.

mod arguments;
mod commands;
mod context;
mod failure;
mod input;
mod output;
mod progress;
mod stack;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use commands::config;
use failure::Failure;

/// `tasker-cli`: reads the command line, does what it says, and returns the exit code.
pub fn tasker_cli() -> ExitCode {
    let Arguments { context, command } = Arguments::parse();
    finish(
        "tasker-cli",
        run(async move {
            match command {
                Command::Task(command) => command.run(&context).await,
                Command::Step(command) => command.run(&context).await,
                Command::Template(command) => command.run(&context).await,
                Command::Namespace(command) => command.run(&context).await,
                Command::Worker(command) => command.run(&context).await,
                Command::System(command) => command.run(&context).await,
                Command::Db(command) => command.run(&context).await,
                Command::Config(command) => command.run(&context),
                Command::Dev(command) => command.run(&context).await,
                Command::Bench(command) => command.run(&context).await,
                Command::Demo(command) => command.run(&context).await,
                Command::Completions { shell } => {
                    let mut text = Vec::new();
                    clap_complete::generate(shell, &mut Arguments::command(), "tasker-cli", &mut text);
                    output::print(String::from_utf8_lossy(&text).trim_end())
                }
            }
        }),
    )
}

/// `config-builder`: `tasker-cli config build` under a name of its own.
pub fn config_builder() -> ExitCode {
    /// Merges the base settings with those of an environment and checks the result.
    #[derive(Parser)]
    #[command(name = "config-builder", version, after_help = arguments::EXIT_CODES)]
    struct Builder {
        #[command(flatten)]
        build: config::Build,
    }
    finish("config-builder", Builder::parse().build.run())
}

/// Runs what a command does. Several threads: the stack of `demo` runs in this process.
fn run(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(command)
}

fn finish(program: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(program),
    }
}
