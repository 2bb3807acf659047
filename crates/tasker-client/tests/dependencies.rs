//! The client must stay light: its dependencies are those of an HTTP client.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

/// Packages that only servers and workers need: SQL, YAML, JSON schemas, log output.
const FORBIDDEN: [&str; 8] = [
    "granit-parser",
    "jsonschema",
    "pgmq-notify",
    "sqlx",
    "tasker-engine",
    "tasker-runtime",
    "tasker-template",
    "tracing-subscriber",
];

#[test]
fn the_client_depends_on_nothing_that_only_servers_need() {
    let tree = ["tree", "--package", "tasker-client", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = Command::new(env!("CARGO"))
        .args(tree)
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let packages = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = packages.lines().filter_map(|line| line.split(' ').next()).collect();
    // The output is complete.
    assert!(output.status.success() && names.contains(&"tasker-api"), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<_> = FORBIDDEN.iter().filter(|name| names.contains(name)).collect();
    assert!(
        found.is_empty(),
        "tasker-client depends on {found:?}; `cargo tree --package tasker-client --invert NAME` shows why"
    );
}
