//! Merges and checks settings files; see [`tasker_cli::config_builder`].

fn main() -> std::process::ExitCode {
    tasker_cli::config_builder()
}
