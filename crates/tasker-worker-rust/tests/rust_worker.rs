//! The binary `rust-worker` where it cannot start: one clear line, and an exit code that says so.

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
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(words), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[test]
fn without_a_database_it_says_what_to_set() {
    refuses(&[], "", "DATABASE_URL");
}

#[test]
fn with_a_wrong_address_it_says_how_one_looks() {
    refuses(&[], "mysql://somewhere", "postgres://");
}

#[test]
fn with_a_database_that_is_not_there_it_says_why_at_once() {
    refuses(&["--port", "0"], "postgres://nobody@127.0.0.1:1/none", "127.0.0.1:1");
}

#[test]
fn its_health_command_fails_where_nobody_answers() {
    refuses(&["health", "--port", "1"], "", "/health");
}
