//! A short campaign, by the program itself.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

/// The plan of this seed has every kind of kill among its first eleven faults, with and without clocks that jump.
const SEED: &str = "1205";

fn chaos(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_tasker-chaos")).args(arguments).output()?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

#[test]
fn a_short_campaign_loses_nothing() -> Result<()> {
    let arguments = ["--seed", SEED, "--faults", "24", "--tasks", "100", "--workers", "2", "--servers", "2", "--json"];
    let (code, report, log) = chaos(&arguments)?;
    assert_eq!(code, Some(0), "{report}\n{log}");
    let report: Value = serde_json::from_str(&report)?;
    assert_eq!(report["violations"], serde_json::json!([]), "{report:#}");
    let faults = &report["faults_by_kind"];
    for kind in ["kill_worker", "kill_server", "kill_backend", "crash_postgres", "suspend_worker", "foreign_locks"] {
        assert!(faults[kind].as_u64() >= Some(1), "no {kind}: {report:#}");
    }
    assert!(report["faults"].as_u64() >= Some(12), "{report:#}");
    let missed: u64 = report["missed_faults"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    assert_eq!(report["faults"].as_u64().map(|faults| faults + missed), Some(24), "{report:#}");
    assert!(report["tasks"]["completed"].as_u64() >= Some(100), "{report:#}");
    let steps = report["steps"].as_i64().context("no steps")?;
    assert!(report["attempts"].as_i64() > Some(steps / 2), "{report:#}");
    assert!(report["refused_results"].as_u64() >= Some(1), "{report:#}");
    Ok(())
}

#[test]
fn wrong_arguments_are_told_apart() -> Result<()> {
    for wrong in [["--duration", "soon"], ["--workers", "0"], ["--no-such", "flag"]] {
        let (code, _, log) = chaos(&wrong)?;
        assert_eq!(code, Some(2), "{log}");
    }
    Ok(())
}
