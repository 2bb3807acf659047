//! The command line against a real stack.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tasker_client::OrchestrationApiClient;
use uuid::Uuid;

use crate::support::{Stack, binary, complete, eventually, fault_step, fault_template, run, task};

struct Cli<'a>(&'a Stack);

impl Cli<'_> {
    fn call(&self, arguments: &[&str]) -> Result<Output> {
        Ok(Command::new(binary("tasker-cli")?)
            .args(arguments)
            .env("TASKER_ORCHESTRATION_URL", &self.0.orchestration_url)
            .env("TASKER_WORKER_URL", &self.0.worker_url)
            .output()?)
    }

    /// What a call that succeeds prints.
    fn text(&self, arguments: &[&str]) -> Result<String> {
        let output = self.call(arguments)?;
        anyhow::ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What a call with `--json` prints.
    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.text(&[&["--json"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Exit code and message of a call that fails.
    fn refusal(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let output = self.call(arguments)?;
        anyhow::ensure!(!output.status.success(), "{arguments:?} succeeded");
        Ok((output.status.code().context("killed")?, String::from_utf8(output.stderr)?))
    }
}

#[tokio::test]
async fn a_task_is_created_watched_shown_and_listed() -> Result<()> {
    let stack = Stack::start().await?;
    let cli = Cli(&stack);
    let created = cli.json(&[
        "task",
        "create",
        "--namespace",
        "linear_workflow",
        "--name",
        "mathematical_sequence",
        "--input",
        r#"{"even_number": 6}"#,
    ])?;
    let id = created["task_uuid"].as_str().context("no id")?;
    cli.text(&["task", "watch", "--id", id])?;
    let shown = cli.json(&["task", "get", "--id", id])?;
    assert_eq!(shown["status"], "completed");
    // 6^16, in the table for people too.
    assert_eq!(shown["steps"][3]["result"]["value"], json!(2_821_109_907_456_u64));
    let table = cli.text(&["task", "get", "--id", id])?;
    for words in ["completed", "linear_step_4", "2821109907456"] {
        assert!(table.contains(words), "no {words} in\n{table}");
    }
    let listed = cli.json(&["task", "list", "--namespace", "linear_workflow", "--status", "completed"])?;
    assert!(listed["tasks"].as_array().is_some_and(|tasks| tasks.iter().any(|task| task["task_uuid"] == id)));
    let history = cli.text(&["task", "history", "--id", id])?;
    assert!(history.contains("in_progress") && history.contains("linear_step_1"), "{history}");
    Ok(())
}

#[tokio::test]
async fn failures_have_an_exit_code_and_a_reason() -> Result<()> {
    let stack = Stack::start().await?;
    let cli = Cli(&stack);
    let create = |input: &'static str| {
        ["task", "create", "--namespace", "linear_workflow", "--name", "mathematical_sequence", "--input", input]
    };
    let unknown = Uuid::now_v7().to_string();
    for (arguments, code, words) in [
        (&create("{")[..], 2, "input"),
        (&create(r#"{"even_number": "six"}"#)[..], 2, "/even_number"),
        (&["task", "create", "--namespace", "no", "--name", "such"], 1, "no template"),
        (&["task", "get", "--id", "7"], 2, "--id"),
        (&["task", "get", "--id", &unknown], 1, &unknown),
        (&["task", "list", "--status", "done"], 2, "in_progress"),
        (&["task", "fly"], 2, "fly"),
        (&["--url", "http://127.0.0.1:1", "task", "list"], 3, "127.0.0.1:1"),
    ] {
        let (found, message) = cli.refusal(arguments)?;
        assert_eq!(found, code, "{arguments:?}: {message}");
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_resolves_a_blocked_task() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let cli = Cli(&stack);
    let mut doomed = fault_step("doomed", "faults.permanent", json!({}));
    doomed["retry"]["limit"] = json!(1);
    let name = fault_template(&api, &json!([doomed])).await?;
    let blocked = run(&api, &task("faults", &name, json!({}))).await?;
    let id = blocked.summary.task_uuid.to_string();
    assert_eq!(cli.call(&["task", "watch", "--id", &id])?.status.code(), Some(1));
    cli.text(&[
        "step",
        "resolve",
        "--id",
        &id,
        "--step",
        "doomed",
        "--result",
        r#"{"ok": true}"#,
        "--reason",
        "checked by hand",
    ])?;
    assert_eq!(cli.json(&["task", "get", "--id", &id])?["status"], "completed");
    assert!(cli.text(&["task", "history", "--id", &id])?.contains("checked by hand"));
    let (code, message) = cli.refusal(&["task", "cancel", "--id", &id])?;
    assert!(code == 1 && message.contains("completed"), "{message}");
    Ok(())
}

#[tokio::test]
async fn the_system_the_workers_and_the_templates_are_shown() -> Result<()> {
    let stack = Stack::start().await?;
    let cli = Cli(&stack);
    cli.text(&["system", "health", "--orchestration", "--workers"])?;
    assert!(cli.json(&["system", "info"])?["schema_version"].as_i64().is_some_and(|version| version > 0));
    let workers = cli.json(&["worker", "list", "--namespace", "linear_workflow"])?;
    assert!(workers["workers"].as_array().is_some_and(|workers| !workers.is_empty()));
    cli.text(&["worker", "status"])?;
    cli.text(&["worker", "health", "--all"])?;
    let templates = cli.text(&["template", "list"])?;
    for name in ["mathematical_sequence", "diamond_pattern", "hierarchical_tree", "complex_dag", "business_workflow"] {
        assert!(templates.contains(name), "no {name} in\n{templates}");
    }
    Ok(())
}

#[tokio::test]
async fn a_template_file_is_checked_stored_and_run() -> Result<()> {
    let stack = Stack::start().await?;
    let cli = Cli(&stack);
    let folder = tempfile::tempdir()?;
    let name = crate::support::unique("from_file");
    let good = folder.path().join("good.yaml");
    let text = format!(
        "name: {name}\nnamespace_name: faults\nversion: 1.0.0\nsteps:\n  - name: only\n    handler: {{ callable: faults.echo }}\n"
    );
    std::fs::write(&good, &text)?;
    let bad = folder.path().join("bad.yaml");
    std::fs::write(&bad, text.replace("callable", "calable"))?;
    let (good, bad) = (good.to_str().context("a path")?, bad.to_str().context("a path")?);

    cli.text(&["template", "validate", good])?;
    let refused = cli.call(&["template", "validate", good, bad])?;
    let said = format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("bad.yaml:6:"), "{said}");
    cli.text(&["template", "apply", good])?;
    assert_eq!(complete(&stack.api()?, &task("faults", &name, json!({}))).await?.summary.version, "1.0.0");
    assert!(stack.api()?.list_templates(Some("faults")).await?.templates.iter().any(|template| template.name == name));
    Ok(())
}

/// Calls that an operator makes, on a namespace of its own whose steps no worker runs.
#[tokio::test]
async fn an_operator_can_do_everything_on_the_command_line() -> Result<()> {
    let stack = Stack::start().await?;
    let cli = Cli(&stack);
    let namespace = format!("cli_{}", Uuid::new_v4().simple());
    let source = json!({
        "name": "report", "namespace_name": namespace, "version": "1.0.0",
        "steps": [{ "name": "a", "handler": { "callable": "nobody.a" }, "publishes_events": [{ "name": "a.done" }] },
                  { "name": "b", "handler": { "callable": "nobody.b" }, "dependencies": ["a"],
                    "concurrency": { "gate": "desk", "limit": 2 } }],
    });
    let file = std::env::temp_dir().join(format!("{namespace}.json"));
    std::fs::write(&file, source.to_string())?;
    let applied = cli.text(&["template", "apply", file.to_str().context("the path is not text")?]);
    std::fs::remove_file(&file)?;
    applied?;
    // Prints a table for people, too.
    let both = |arguments: &[&str]| -> Result<Value> {
        anyhow::ensure!(!cli.text(arguments)?.is_empty(), "{arguments:?} prints nothing");
        cli.json(arguments)
    };
    let in_namespace = |arguments: &[&'static str]| -> Vec<String> {
        arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .chain(["--namespace".to_owned(), namespace.clone()])
            .collect()
    };
    let call = |arguments: &[String]| both(&arguments.iter().map(String::as_str).collect::<Vec<_>>());

    // A schedule, and the task that it creates on request.
    let name = namespace.as_str();
    let mut set = in_namespace(&["schedule", "set", "--template", "report", "--cron", "0 2 * * *"]);
    set.extend(["--name", name, "--tag", "a", "--tag", "b"].map(str::to_owned));
    let set = call(&set)?;
    assert_eq!((&set["cron"], &set["tags"]), (&json!("0 2 * * *"), &json!(["a", "b"])));
    assert_eq!(call(&in_namespace(&["schedule", "list"]))?["schedules"].as_array().map(Vec::len), Some(1));
    assert_eq!(both(&["schedule", "pause", "--name", name])?["paused"], true);
    assert_eq!(both(&["schedule", "resume", "--name", name])?["paused"], false);
    assert_eq!(both(&["schedule", "show", "--name", name])?["name"], name);
    let task = cli.json(&["schedule", "trigger", "--name", name])?;
    let id = task["task_uuid"].as_str().context("no id")?;
    cli.text(&["schedule", "delete", "--name", name])?;
    assert_eq!(cli.refusal(&["schedule", "show", "--name", name])?.0, 1);

    // The gate of the template.
    assert_eq!(call(&in_namespace(&["gate", "list"]))?["gates"][0]["name"], "desk");
    assert_eq!(call(&in_namespace(&["gate", "set", "--name", "desk", "--limit", "3"]))?["limit"], 3);
    let rate = ["gate", "set", "--name", "desk", "--template-limit", "--rate-limit", "9", "--per-seconds", "60"];
    let set = call(&in_namespace(&rate))?;
    assert_eq!((&set["limit"], &set["rate"]["burst"]), (&json!(2), &json!(9)));
    let set = call(&in_namespace(&["gate", "set", "--name", "desk", "--burst", "4"]))?;
    assert_eq!(set["rate"], json!({ "limit": 9, "per_seconds": 60, "burst": 4 }));
    assert_eq!(call(&in_namespace(&["gate", "show", "--name", "desk"]))?["holders"], json!([]));
    assert_eq!(cli.refusal(&["gate", "set", "--namespace", name, "--name", "desk"])?.0, 2, "nothing to set");
    assert_eq!(cli.refusal(&["gate", "show", "--namespace", name, "--name", "no"])?.0, 1);

    // The namespace.
    assert_ne!(call(&in_namespace(&["namespace", "pause"]))?["paused_at"], Value::Null);
    assert_eq!(call(&in_namespace(&["namespace", "resume"]))?["paused_at"], Value::Null);
    let mut retention = in_namespace(&["namespace", "retention"]);
    retention.extend(["--days".to_owned(), "3".to_owned()]);
    assert_eq!(call(&retention)?["finished_tasks_days"], 3);
    assert!(both(&["namespace", "list"])?.to_string().contains(name));

    // Why it waits, and what was done.
    assert!(both(&["step", "why", "--id", id, "--step", "a"])?.to_string().contains("nobody.a"));
    assert_eq!(call(&in_namespace(&["event", "list"]))?["events"], json!([]));
    cli.text(&["step", "resolve", "--id", id, "--step", "a", "--result", "1", "--reason", "by hand"])?;
    let events = call(&in_namespace(&["event", "list", "--limit", "1"]))?;
    assert_eq!(events["events"][0]["event"]["event_name"], "a.done", "{events}");
    assert_eq!(cli.refusal(&["event", "list", "--namespace", "no_such"])?.0, 1);
    assert!(both(&["task", "attempts", "--id", id])?["attempts"].is_array());
    let fork = cli.json(&["task", "fork", "--id", id, "--step", "b", "--reason", "again"])?;
    assert_eq!(fork["completed_steps"], 1, "{fork}");
    let again = cli.json(&["task", "rerun", "--id", id, "--reason", "again"])?;
    assert_ne!(again["task_uuid"], task["task_uuid"]);
    let opened = cli.json(&["dlq", "open", "--task", id, "--notes", "looks strange"])?;
    let entry = opened["dlq_entry_uuid"].as_str().context("no entry")?;
    assert_eq!(call(&in_namespace(&["dlq", "list"]))?["entries"].as_array().map(Vec::len), Some(1));
    let shown = both(&["dlq", "get", "--id", entry])?;
    assert_eq!((&shown["task_uuid"], &shown["resolution_notes"]), (&json!(id), &json!("looks strange")));
    assert_eq!(cli.refusal(&["dlq", "get", "--id", id])?.0, 1, "the id of a task");
    cli.text(&["dlq", "resolve", "--id", entry, "--status", "permanently_failed", "--notes", "given up"])?;

    // All of them at once.
    let mut preview = in_namespace(&["bulk", "cancel", "--dry-run"]);
    assert!(call(&preview)?.to_string().contains('3'));
    preview.retain(|argument| argument != "--dry-run");
    preview.extend(["--reason".to_owned(), "not needed".to_owned()]);
    let job = cli.json(&preview.iter().map(String::as_str).collect::<Vec<_>>())?;
    let job = job["id"].as_str().context("no job")?;
    both(&["bulk", "get", "--id", job])?;
    both(&["bulk", "list"])?;
    eventually("the tasks are cancelled", async || {
        Ok((both(&["task", "get", "--id", id])?["status"] == "cancelled").then_some(()))
    })
    .await?;

    // The system.
    for command in ["stats", "whoami", "info"] {
        both(&["system", command])?;
    }

    // The start of an id is enough if it is the only one.
    assert_eq!(both(&["task", "get", "--id", &id[..35]])?["task_uuid"], json!(id));
    assert!(both(&["step", "why", "--id", &id[..30].replace('-', ""), "--step", "a"])?.to_string().contains("waiting"));
    let (code, refused) = cli.refusal(&["task", "get", "--id", "00000000"])?;
    assert!(code == 1 && refused.contains("no task whose id starts with 00000000"), "{refused}");
    assert_eq!(cli.refusal(&["task", "get", "--id", "0000000"])?.0, 2, "too short");
    // Ids begin with the time. Those of tasks that are created one after the other begin alike, unless a minute ends.
    let started_alike = loop {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let task = cli.json(&["task", "rerun", "--id", id])?;
            ids.push(task["task_uuid"].as_str().context("no id")?.to_owned());
        }
        if ids[0][..8] == ids[1][..8] {
            break ids[0][..8].to_owned();
        }
    };
    let (code, refused) = cli.refusal(&["task", "cancel", "--id", &started_alike])?;
    assert!(code == 2 && refused.contains("several tasks"), "{refused}");
    Ok(())
}
