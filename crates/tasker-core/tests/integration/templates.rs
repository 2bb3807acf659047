//! Templates and their versions.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tasker_api::TemplateOutcome;
use tasker_client::{ClientError, OrchestrationApiClient};

use crate::support::{Stack, complete, eventually, fault_step, step, task, unique};

fn template(name: &str, version: &str, steps: Value) -> String {
    json!({ "name": name, "namespace_name": "faults", "version": version, "steps": steps }).to_string()
}

#[tokio::test]
async fn versions_coexist_and_a_running_task_keeps_its_own() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let name = unique("versions");
    let mut second = fault_step("second", "faults.echo", json!({}));
    second["dependencies"] = json!(["first"]);
    let old = json!([fault_step("first", "faults.sleep", json!({ "ms": 300 })), second]);
    let new = json!([fault_step("only", "faults.echo", json!({}))]);

    api.apply_template(&template(&name, "1.9.0", old)).await?;
    let running = api.create_task(&task("faults", &name, json!({}))).await?;
    assert_eq!(running.version, "1.9.0");
    api.apply_template(&template(&name, "1.10.0", new)).await?;

    // New tasks use the newest version by number, not by alphabet.
    let newest = complete(&api, &task("faults", &name, json!({}))).await?;
    assert_eq!((newest.summary.version.as_str(), newest.steps.len()), ("1.10.0", 1));
    let mut request = task("faults", &name, json!({}));
    request.version = Some("1.9.0".to_owned());
    assert_eq!(complete(&api, &request).await?.steps.len(), 2);
    let kept = eventually("the running task completes", async || {
        let task = api.get_task(running.task_uuid).await?;
        Ok(task.summary.status.is_at_rest().then_some(task))
    })
    .await?;
    assert_eq!((kept.summary.version.as_str(), kept.summary.completed_steps), ("1.9.0", 2));
    Ok(())
}

#[tokio::test]
async fn a_stored_version_never_changes() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let name = unique("stored");
    let steps = json!([fault_step("a", "faults.echo", json!({}))]);
    let first = api.apply_template(&template(&name, "1.0.0", steps.clone())).await?;
    assert_eq!(first.outcome, TemplateOutcome::Created);
    let same = api.apply_template(&template(&name, "1.0.0", steps)).await?;
    assert_eq!(same.outcome, TemplateOutcome::Unchanged);
    let other = json!([fault_step("b", "faults.echo", json!({}))]);
    let refused = api.apply_template(&template(&name, "1.0.0", other)).await;
    assert!(matches!(refused, Err(ClientError::Problem(problem)) if problem.status == 409));

    let shown = api.get_template("faults", &name, None).await?;
    assert_eq!(shown.summary.total_steps, 1);
    assert_eq!(shown.definition["steps"][0]["name"], "a");
    assert!(api.list_templates(Some("faults")).await?.templates.iter().any(|t| t.name == name));
    Ok(())
}

#[tokio::test]
async fn an_invalid_template_is_refused_with_the_line_of_every_error() -> Result<()> {
    let stack = Stack::start().await?;
    let source = "name: bad\nnamespace_name: faults\nversion: 1.0.0\nsteps:\n  - name: a\n    handler: { callable: x }\n    \
                  dependencies: [b]\n  - name: b\n    handler: { callable: x }\n    dependencies: [a, nope]\n";
    let refused = stack.api()?.apply_template(source).await;
    let Err(ClientError::Problem(problem)) = refused else { anyhow::bail!("not refused: {refused:?}") };
    assert_eq!(problem.status, 422);
    assert!(problem.errors.len() >= 2, "{problem:#?}");
    let unknown = problem.errors.iter().find(|error| error.message.contains("nope")).context("the unknown step")?;
    assert!(unknown.pointer.starts_with("10:"), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn initialization_and_context_reach_the_handler() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.api()?;
    let name = unique("echo");
    api.apply_template(&template(&name, "1.0.0", json!([fault_step("echo", "faults.echo", json!({}))]))).await?;
    let context = json!({ "text": "grüße 🦀", "number": 12.5, "nested": { "list": [1, null, true] } });
    let done = complete(&api, &task("faults", &name, context.clone())).await?;
    assert_eq!(done.context, context);
    assert_eq!(step(&done, "echo")?.result, Some(context));
    Ok(())
}
