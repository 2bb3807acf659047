//! Tasker's command line; see [`tasker_cli`].

fn main() -> std::process::ExitCode {
    tasker_cli::tasker_cli()
}
