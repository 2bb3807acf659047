//! The binary `rust-worker` when it cannot start: one line on standard error, and exit code 1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn rust_worker(arguments: &[&str], database_url: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rust-worker"))
        .args(arguments)
        .env_remove("TASKER_CONFIG_PATH")
        .env("DATABASE_URL", database_url)
        .output()
        .unwrap()
}

fn refuses(arguments: &[&str], database_url: &str, words: &str) {
    let output = rust_worker(arguments, database_url);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(words), "{stderr}");
    assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
}

#[test]
fn a_missing_database_url_is_named() {
    refuses(&[], "", "DATABASE_URL");
}

#[test]
fn a_wrong_database_url_is_explained_with_an_example() {
    refuses(&[], "mysql://somewhere", "postgres://");
}

#[test]
fn an_unreachable_database_is_named_at_once() {
    refuses(&["--port", "0"], "postgres://nobody@127.0.0.1:1/none", "127.0.0.1:1");
}

#[test]
fn the_health_command_fails_if_nothing_listens() {
    refuses(&["health", "--port", "1"], "", "/health");
}
