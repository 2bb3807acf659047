//! `demo` and `dev` with a real PostgreSQL: what they print, what they keep, and that they leave nothing behind.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn cli(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasker-cli"));
    command.args(arguments).env("HOME", home).current_dir(home).stdin(Stdio::null());
    for (variable, _) in std::env::vars() {
        // TASKER_PG_BIN names the folder of PostgreSQL. Other variables would change what is tested.
        let ours = variable.starts_with("TASKER_") && variable != "TASKER_PG_BIN";
        if ours || ["DATABASE_URL", "API_KEY", "API_KEY_FILE", "RUST_LOG"].contains(&variable.as_str()) {
            command.env_remove(variable);
        }
    }
    command
}

/// A program that is killed at the end of the test.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    /// The exit code and the rest of standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.0.wait().unwrap().code(), stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The port in `PostgreSQL listens on port 12345 (0.5 s)`.
fn postgres_port(stderr: &str) -> u16 {
    let rest = stderr.split("PostgreSQL listens on port ").nth(1).unwrap();
    rest.split(' ').next().unwrap().trim().parse().unwrap()
}

fn is_gone(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err()
}

#[test]
fn the_demo_completes_all_workflows_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let output = cli(home.path(), &["demo", "--json"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let demo: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tasks = demo["tasks"].as_array().unwrap();
    let power_16 = json!({ "value": 2_821_109_907_456_u64 });
    let power_64 = json!({ "value": "63340286662973277706162286946811886609896461828096" });
    let failed = json!({ "batch": "import_batch_002", "reason": "record 3 has no email address" });
    let expected = [
        ("mathematical_sequence", "linear_step_4", power_16.clone()),
        ("diamond_pattern", "diamond_end", power_16),
        ("hierarchical_tree", "tree_final_convergence", power_64.clone()),
        ("complex_dag", "dag_finalize", power_64),
        ("business_workflow", "validate_order", json!(null)),
        ("routed_order", "dispatch", json!({ "dispatched_after": ["check_credit", "review"] })),
        ("expense_approval", "notify", json!({ "to": "ada", "message": "4200 cents were paid" })),
        ("nightly_import", "report", json!({ "imported": 3, "failed": [failed] })),
        ("monthly_billing", "confirm", json!({ "invoice_id": "inv_a-7" })),
        ("charge_account", "receipt", json!(null)),
    ];
    assert_eq!(tasks.len(), expected.len(), "{demo}");
    for (task, (name, step, result)) in tasks.iter().zip(expected) {
        assert_eq!((task["name"].as_str(), task["status"].as_str()), (Some(name), Some("completed")), "{task}");
        let steps = task["steps"].as_array().unwrap();
        let step = steps.iter().find(|candidate| candidate["name"] == step).unwrap();
        assert!(result.is_null() || step["result"] == result, "{step}");
    }
    assert!(tasks[4]["steps"][3]["result"]["tracking_number"].is_string(), "{demo}");
    assert!(stderr.contains("linear_workflow/mathematical_sequence: completed\n"), "{stderr}");
    assert!(is_gone(postgres_port(&stderr)), "{stderr}");
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Running::start(cli(home.path(), &["demo"]));
    let mut line = String::new();
    BufReader::with_capacity(1, demo.0.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    demo.signal(Signal::SIGINT);
    let (code, stderr) = demo.end();
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.ends_with("tasker-cli: interrupted\n"), "{stderr}");
    assert!(is_gone(postgres_port(&line)), "{stderr}");
}

#[test]
fn dev_keeps_its_data() {
    let home = tempfile::tempdir().unwrap();
    let start = || {
        let mut dev = Running::start(cli(home.path(), &["dev", "--port", "0", "--worker-port", "0", "--json"]));
        let mut urls = serde_json::Deserializer::from_reader(dev.0.stdout.as_mut().unwrap()).into_iter::<Value>();
        let urls = urls.next().map(|urls| urls.unwrap());
        (urls.unwrap_or_default(), dev)
    };
    let ask = |urls: &Value, arguments: &[&str]| {
        let url = urls["orchestration_url"].as_str().unwrap_or_default();
        let output = cli(home.path(), &[arguments, &["--json", "--url", url]].concat()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        serde_json::from_slice::<Value>(&output.stdout).map_err(|error| format!("{error}: {stderr}"))
    };

    let (urls, dev) = start();
    let create = ["task", "create", "--namespace", "linear_workflow", "--name", "mathematical_sequence", "--wait"];
    let task = ask(&urls, &[&create[..], &["--input", r#"{"even_number": 6}"#]].concat());
    dev.signal(Signal::SIGTERM);
    let (code, stderr) = dev.end();
    let task = task.unwrap();
    assert_eq!((code, &task["status"]), (Some(0), &Value::from("completed")), "{stderr}");

    let (urls, dev) = start();
    let again = ask(&urls, &["task", "get", "--id", task["task_uuid"].as_str().unwrap()]);
    dev.signal(Signal::SIGTERM);
    let (code, stderr) = dev.end();
    assert_eq!((code, again), (Some(0), Ok(task)), "{stderr}");
    assert!(is_gone(postgres_port(&stderr)), "{stderr}");
}

#[test]
fn dev_without_the_sample_worker_writes_its_addresses_to_a_file() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["dev", "--temporary", "--port", "0", "--no-worker", "--env-file", "new/env", "--json"];
    let mut dev = Running::start(cli(home.path(), &arguments));
    let mut urls = serde_json::Deserializer::from_reader(dev.0.stdout.as_mut().unwrap()).into_iter::<Value>();
    let urls = urls.next().map(|urls| urls.unwrap()).unwrap_or_default();
    let file = home.path().join("new/env");
    let variables = std::fs::read_to_string(&file);
    let mode = std::fs::metadata(&file).map(|metadata| metadata.permissions().mode() & 0o777);
    let mut sourced = Command::new("sh");
    sourced.args(["-c", ". new/env && echo $DATABASE_URL"]).current_dir(home.path()).env_remove("DATABASE_URL");
    let sourced = sourced.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    dev.signal(Signal::SIGTERM);
    let (code, stderr) = dev.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stderr.contains("the worker at"), "{stderr}");

    let text = |name: &str| urls[name].as_str().unwrap().to_owned();
    assert_eq!(urls["worker_url"], Value::Null);
    let (database, server) = (text("database_url"), text("orchestration_url"));
    assert_eq!(variables.unwrap(), format!("DATABASE_URL='{database}'\nTASKER_ORCHESTRATION_URL='{server}'\n"));
    assert_eq!((mode.unwrap(), sourced.unwrap()), (0o600, database));
    assert!(!file.exists(), "it is removed at the end");
    assert!(!home.path().join(".tasker").exists(), "it keeps no data");
}
