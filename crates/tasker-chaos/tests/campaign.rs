//! The program: a short campaign, wrong arguments, and its end by SIGKILL.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

/// The first nine faults of this seed include every kind of kill.
const SEED: &str = "21332";

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
    assert!(report["schedules"]["created"].as_i64() >= Some(1), "{report:#}");
    let steps = report["steps"].as_i64().context("no steps")?;
    assert!(report["attempts"].as_i64() > Some(steps / 2), "{report:#}");
    assert!(report["refused_results"].as_u64() >= Some(1), "{report:#}");
    Ok(())
}

#[test]
fn a_database_that_cannot_be_used_for_a_while_loses_nothing() -> Result<()> {
    let kinds = ["read_only_database", "exhausted_connections", "full_disk", "kill_pooler", "fail_over"];
    // The faults of this seed include every one of these kinds.
    let mut arguments = vec!["--seed", "1", "--faults", "12", "--tasks", "40", "--workers", "2", "--json"];
    arguments.extend(kinds.iter().flat_map(|kind| ["--only", kind]));
    let (code, report, log) = chaos(&arguments)?;
    assert_eq!(code, Some(0), "{report}\n{log}");
    let report: Value = serde_json::from_str(&report)?;
    assert_eq!(report["violations"], serde_json::json!([]), "{report:#}");
    for kind in kinds {
        // Only root can fill a disk, and PgBouncer may be missing.
        let not_here = ["full_disk", "kill_pooler"].contains(&kind) && report["not_run"][kind].is_string();
        assert!(not_here || report["faults_by_kind"][kind].as_u64() >= Some(1), "no {kind}: {report:#}");
    }
    assert!(report["error_answers"]["503"].as_u64() >= Some(1), "{report:#}");
    assert!(report["tasks"]["completed"].as_u64() >= Some(40), "{report:#}");
    Ok(())
}

#[test]
fn wrong_arguments_have_their_own_exit_code() -> Result<()> {
    for wrong in [["--duration", "soon"], ["--duration", "90"], ["--workers", "0"], ["--no-such", "flag"]] {
        let (code, _, log) = chaos(&wrong)?;
        assert_eq!(code, Some(2), "{log}");
    }
    Ok(())
}

/// All processes whose temporary folder is `folder`: the campaign's, since the test gives it one of its own.
#[cfg(target_os = "linux")]
fn processes(folder: &std::path::Path) -> Result<Vec<String>> {
    let variable = format!("TMPDIR={}", folder.display()).into_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        // Other entries, other users' processes, and processes that have just ended.
        let (Ok(environment), Ok(name)) =
            (std::fs::read(path.join("environ")), std::fs::read_to_string(path.join("comm")))
        else {
            continue;
        };
        if environment.split(|byte| *byte == 0).any(|found| found == variable) {
            found.push(name.trim_end().to_owned());
        }
    }
    Ok(found)
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_campaign_leaves_nothing_behind() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    fn eventually(what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while !holds()? {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    let folder = tempfile::tempdir()?;
    // PostgreSQL may run as another user.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777))?;
    let mut campaign = Command::new(env!("CARGO_BIN_EXE_tasker-chaos"))
        .args(["--duration", "1h", "--tasks", "10", "--workers", "2", "--servers", "1"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let started = eventually("a worker is started", || {
        Ok(processes(folder.path())?.iter().any(|name| name.contains("rust-worker")))
    });
    campaign.kill()?;
    campaign.wait()?;
    started?;
    eventually("every process has ended", || Ok(processes(folder.path())?.is_empty()))?;
    eventually("every file is removed", || Ok(std::fs::read_dir(folder.path())?.next().is_none()))
}
