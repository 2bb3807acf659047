//! `tasker-cli demo`

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tasker_api::{CreateTask, SendSignal, StepDetail, TaskDetail, TaskState};
use tasker_client::{ClientError, OrchestrationApiClient, OrchestrationClient};

use super::task::{not_completed, outcome};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, note};
use crate::progress::{Progress, watch};
use crate::stack::Stack;

/// How long a workflow may take: far longer than it needs.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Command {
    /// The input of the four mathematical workflows: even, at least 2.
    #[arg(long, default_value_t = 6)]
    even_number: u64,
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut settings = Stack::private_settings("warn,sqlx_core=error");
        // Only an interrupted demo has steps and requests left.
        settings.worker.shutdown_timeout_ms = 500;
        settings.orchestration.shutdown_timeout_ms = 500;
        let work = async |stack: &Stack| Ok(run_workflows(&stack.url, self.even_number).await?);
        let tasks = Stack::run(settings, work).await?;
        report(context, &tasks, begun)
    }
}

/// Creates a task of each sample workflow, and watches all of them until they are at rest.
async fn run_workflows(url: &str, even_number: u64) -> Result<Vec<TaskDetail>, ClientError> {
    let client = OrchestrationClient::new(url)?;
    let progress = Progress::default();
    let workflows = workflows(even_number);
    let width = workflows.iter().map(|(namespace, name, _)| namespace.len() + name.len() + 1).max().unwrap_or(0);
    let mut watched = Vec::new();
    for (namespace, name, context) in workflows {
        let task = client.create_task(&create(namespace, name, context)).await?;
        if name == "expense_approval" {
            let payload = json!({ "approved": true, "by": "grace" });
            client.send_signal(task.task_uuid, "decision", &SendSignal { payload, actor: None }).await?;
        }
        let shown = progress.task(width);
        let client = client.clone();
        watched.push(tokio::spawn(async move { watch(&client, task.task_uuid, LIMIT, shown).await }));
    }
    let mut tasks = Vec::new();
    for task in watched {
        match task.await {
            Ok(task) => tasks.push(task?),
            // It is never aborted.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    Ok(tasks)
}

/// Namespace, name and input of the sample workflows.
fn workflows(even_number: u64) -> [(&'static str, &'static str, Value); 10] {
    let number = json!({ "even_number": even_number });
    let order = json!({
        "customer": { "id": 4711, "email": "ada@example.com" },
        "items": [
            { "sku": "TEA-250", "quantity": 2, "unit_price_cents": 1250 },
            { "sku": "MUG-01", "quantity": 1, "unit_price_cents": 899 },
        ],
        "payment": { "method": "credit_card", "token": "tok_demo" },
        "shipping": {
            "address": { "street": "1 Analytical Way", "city": "London", "postal_code": "N1 9GU", "country": "GB" },
            "method": "standard",
        },
    });
    // The third record is bad, so the second batch fails.
    let records = json!([
        { "id": 1, "email": "ada@example.com" },
        { "id": 2, "email": "alan@example.com" },
        { "id": 3, "email": null },
        { "id": 4, "email": "edsger@example.com" },
        { "id": 5, "email": "barbara@example.com" },
    ]);
    let account = json!({ "id": "a-7", "usage_cents": 4200 });
    [
        ("linear_workflow", "mathematical_sequence", number.clone()),
        ("diamond_workflow", "diamond_pattern", number.clone()),
        ("tree_workflow", "hierarchical_tree", number.clone()),
        ("mixed_dag_workflow", "complex_dag", number),
        ("order_fulfillment", "business_workflow", order),
        ("order_routing", "routed_order", json!({ "total_cents": 250_000 })),
        ("expenses", "expense_approval", json!({ "employee": "ada", "amount_cents": 4200 })),
        ("data_import", "nightly_import", json!({ "records": records, "batch_size": 2 })),
        ("billing", "monthly_billing", json!({ "month": "2026-11", "account": account })),
        ("payments", "charge_account", json!({ "account_id": "a-7", "amount_cents": 4200 })),
    ]
}

fn create(namespace: &str, name: &str, context: Value) -> CreateTask {
    let context = match context {
        Value::Object(context) => context,
        _ => serde_json::Map::new(),
    };
    CreateTask {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        version: None,
        context,
        idempotency_key: None,
        priority: None,
        tags: None,
    }
}

/// The step that completed last.
fn last(task: &TaskDetail) -> Option<&StepDetail> {
    task.steps.iter().max_by_key(|step| step.completed_at)
}

fn report(context: &Context, tasks: &[TaskDetail], begun: Instant) -> Result<(), Failure> {
    if context.json {
        output::print_json(&json!({ "tasks": tasks }))?;
    } else {
        let steps = tasks.iter().flat_map(|task| task.steps.iter().map(|step| (task.summary.name.clone(), step)));
        let rows = steps.map(|(task, step)| {
            [
                task,
                step.name.clone(),
                step.status.to_string(),
                output::between(step.started_at, step.completed_at).unwrap_or_default(),
                outcome(step),
            ]
        });
        output::print(output::table(["task", "step", "status", "took", "result"], rows))?;
        let rows = tasks.iter().map(|task| {
            let summary = &task.summary;
            [
                format!("{}/{}", summary.namespace, summary.name),
                summary.status.to_string(),
                format!("{} of {}", summary.completed_steps, summary.total_steps),
                output::between(Some(summary.created_at), summary.completed_at).unwrap_or_default(),
                last(task).map(outcome).unwrap_or_default(),
            ]
        });
        output::print(output::table(["task", "status", "steps", "took", "result"], rows))?;
    }
    match tasks.iter().find(|task| task.summary.status != TaskState::Completed) {
        Some(task) => Err(not_completed(task)),
        None => {
            let count = tasks.len();
            note(format!(
                "All {count} workflows completed ({} in all, PostgreSQL included)",
                output::seconds(begun.elapsed())
            ));
            Ok(())
        }
    }
}
