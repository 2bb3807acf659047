//! Templates with the fields and names of tasker-core's published ones, with handlers of our own, run to the end as its
//! documents say. docs/workflows.md lists the differences.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::PgPool;
use tasker_api::{StepState, TaskDetail, TaskState};
use tasker_client::OrchestrationApiClient;
use tasker_core::{HandlerError, HandlerResult, Settings, StepContext, Worker, database};

use crate::support::{OwnStack, complete, fault_step, run, step, task};

/// Branches by the amount, and a step that joins those that run.
const APPROVAL: &str = "
name: approval_routing
namespace_name: conditional_approval
version: 1.0.0
metadata: { tags: [ 'pattern:decision_point' ] }
system_dependencies: { primary: default, secondary: [] }
domain_events: []
input_schema: { type: object, required: [amount], properties: { amount: { type: number } } }
steps:
  - name: validate_request
    handler: { callable: ConditionalApproval::StepHandlers::ValidateRequestHandler }
    system_dependency:
    type: standard
    publishes_events: []
  - name: routing_decision
    type: decision
    dependencies: [validate_request]
    handler:
      callable: ConditionalApproval::StepHandlers::RoutingDecisionHandler
      initialization: { thresholds: { small: 1000, large: 5000 } }
    retry: { retryable: true, max_attempts: 3, backoff: exponential, backoff_base_ms: 1000, max_backoff_ms: 30000 }
  - name: finalize_approval
    type: deferred_convergence
    dependencies: [auto_approve, manager_approval, finance_review]
    handler: { callable: ConditionalApproval::StepHandlers::FinalizeApprovalHandler }
  - name: auto_approve
    dependencies: [routing_decision]
    handler: { callable: ConditionalApproval::StepHandlers::AutoApproveHandler }
  - name: manager_approval
    dependencies: [routing_decision]
    handler: { callable: ConditionalApproval::StepHandlers::ManagerApprovalHandler }
  - name: finance_review
    dependencies: [routing_decision]
    handler: { callable: ConditionalApproval::StepHandlers::FinanceReviewHandler }
environments:
  test:
    steps: [{ name: ALL, timeout_seconds: 10, retry: { max_attempts: 2 } }]
";

/// An analyzer, workers for its batches, and a step that adds up their results.
const BATCHES: &str = "
name: csv_product_inventory_analyzer
namespace_name: csv_processing
version: 1.0.0
steps:
  - name: analyze_csv
    type: batchable
    dependencies: []
    handler:
      callable: BatchProcessing::StepHandlers::CsvAnalyzerHandler
      initialization: { batch_size: 200, max_workers: 5 }
  - name: process_csv_batch
    type: batch_worker
    dependencies: [analyze_csv]
    lifecycle: { max_steps_in_process_minutes: 120, max_retries: 3, backoff_multiplier: 2.0 }
    handler:
      callable: BatchProcessing::StepHandlers::CsvBatchProcessorHandler
      initialization: { operation: inventory_analysis }
    batch_config:
      batch_size: 200
      parallelism: 5
      cursor_field: row_number
      worker_template: process_csv_batch
      failure_strategy: continue_on_failure
  - name: aggregate_csv_results
    type: deferred_convergence
    dependencies: [process_csv_batch]
    handler:
      callable: BatchProcessing::StepHandlers::CsvResultsAggregatorHandler
      initialization: { aggregation_type: inventory_metrics }
";

/// Events of each condition and mode.
const EVENTS: &str = "
name: domain_event_publishing
namespace_name: domain_events
version: 1.0.0
task_handler: { callable: DomainEvents::DomainEventTestHandler }
steps:
  - name: validate_order
    handler: { callable: DomainEvents::StepHandlers::ValidateOrderHandler }
    publishes_events:
      - { name: order.validated, description: The order is valid, condition: success, delivery_mode: fast }
  - name: process_payment
    dependencies: [validate_order]
    handler: { callable: DomainEvents::StepHandlers::ProcessPaymentHandler }
    publishes_events:
      - name: payment.processed
        condition: success
        schema: { type: object, required: [transaction_id] }
        delivery_mode: durable
        publisher: DomainEvents::Publishers::PaymentEventPublisher
      - { name: payment.failed, condition: failure, delivery_mode: durable }
  - name: update_inventory
    dependencies: [process_payment]
    handler: { callable: DomainEvents::StepHandlers::UpdateInventoryHandler }
    publishes_events:
      - { name: inventory.updated, condition: always, delivery_mode: broadcast }
";

async fn route(step: StepContext) -> HandlerResult {
    let thresholds = &step.initialization_value()["thresholds"];
    let amount = step.context()["amount"].as_f64().unwrap_or_default();
    let names: &[&str] = if amount < thresholds["small"].as_f64().unwrap_or_default() {
        &["auto_approve"]
    } else if amount < thresholds["large"].as_f64().unwrap_or_default() {
        &["manager_approval"]
    } else {
        &["manager_approval", "finance_review"]
    };
    Ok(json!({ "decision_point_outcome": { "type": "create_steps", "step_names": names } }))
}

async fn analyze(step: StepContext) -> HandlerResult {
    let rows = step.context()["rows"].as_u64().unwrap_or_default();
    let size = step.initialization_value()["batch_size"].as_u64().unwrap_or(1);
    if rows == 0 {
        return Ok(json!({ "batch_processing_outcome": { "type": "no_batches" } }));
    }
    let cursors: Vec<_> = (0..rows.div_ceil(size))
        .map(|n| {
            json!({ "batch_id": format!("{:03}", n + 1), "start_cursor": n * size,
                "end_cursor": rows.min((n + 1) * size), "batch_size": size })
        })
        .collect();
    Ok(json!({
        "total_rows": rows,
        "batch_processing_outcome": {
            "type": "create_batches", "worker_template_name": "process_csv_batch", "worker_count": cursors.len(),
            "cursor_configs": cursors, "total_items": rows,
        },
    }))
}

/// Processes half of its batch, stores a checkpoint, and continues from there. The third batch fails.
async fn process(step: StepContext) -> HandlerResult {
    let settings = step.initialization_value();
    ensure_that(
        settings["operation"] == "inventory_analysis" && settings["batch_metadata"]["cursor_field"] == "row_number",
    )?;
    if settings["is_no_op"] == true {
        return Ok(json!({ "processed": 0 }));
    }
    let cursor = |name: &str| settings["cursor"][name].as_u64().unwrap_or_default();
    let (start, end) = (cursor("start_cursor"), cursor("end_cursor"));
    if step.context()["bad_row"].as_u64().is_some_and(|row| (start..end).contains(&row)) {
        return Err(HandlerError::permanent("the row has no price"));
    }
    match step.checkpoint() {
        None => Err(HandlerError::checkpoint(json!({ "cursor": (start + end) / 2, "processed": (end - start) / 2 }))),
        Some(checkpoint) => {
            let left = end - checkpoint["cursor"].as_u64().unwrap_or_default();
            Ok(json!({ "processed": checkpoint["processed"].as_u64().unwrap_or_default() + left }))
        }
    }
}

fn ensure_that(condition: bool) -> Result<(), HandlerError> {
    if condition { Ok(()) } else { Err(HandlerError::permanent("the settings of the step are wrong")) }
}

/// Receives the results of all workers by name, and that of the analyzer.
async fn aggregate(step: StepContext) -> HandlerResult {
    let results = step.dependency_results().as_object().cloned().unwrap_or_default();
    let workers = || results.iter().filter(|(name, _)| name.starts_with("process_csv_batch_"));
    Ok(json!({
        "workers": workers().count(),
        "failed": workers().filter(|(_, result)| result.get("error").is_some()).count(),
        "processed": workers().filter_map(|(_, result)| result["processed"].as_u64()).sum::<u64>(),
        "total": results.get("analyze_csv").map(|analyzer| &analyzer["total_rows"]),
    }))
}

async fn names(step: StepContext) -> HandlerResult {
    let results = step.dependency_results().as_object();
    let mut names: Vec<_> = results.into_iter().flatten().map(|(name, _)| name).collect();
    names.sort();
    Ok(json!({ "approved_by": names }))
}

async fn pay(step: StepContext) -> HandlerResult {
    if step.context()["simulate_failure"] == true {
        return Err(HandlerError::permanent("declined").with_kind("PAYMENT_DECLINED"));
    }
    Ok(json!({ "transaction_id": "txn_1" }))
}

async fn done(_: StepContext) -> HandlerResult {
    Ok(json!({ "success": true }))
}

/// A server, and a worker in this process that has the handlers.
struct Published {
    stack: OwnStack,
    worker: Worker,
    pool: PgPool,
}

impl Published {
    async fn start() -> Result<Self> {
        let mut stack = OwnStack::start().await?;
        stack.start_server()?;
        let mut settings = Settings::default();
        settings.database.url = stack.postgres.url();
        settings.worker.port = 0;
        let pool = database::connect(&settings.database, "published").await?;
        let mut worker = Worker::builder(settings.worker, pool.clone());
        for template in [APPROVAL, BATCHES, EVENTS] {
            worker = worker.template(template);
        }
        for name in [
            "ConditionalApproval::StepHandlers::ValidateRequestHandler",
            "ConditionalApproval::StepHandlers::AutoApproveHandler",
            "ConditionalApproval::StepHandlers::ManagerApprovalHandler",
            "ConditionalApproval::StepHandlers::FinanceReviewHandler",
            "DomainEvents::StepHandlers::ValidateOrderHandler",
            "DomainEvents::StepHandlers::UpdateInventoryHandler",
        ] {
            worker = worker.handler(name, done);
        }
        let worker = worker
            .handler("ConditionalApproval::StepHandlers::RoutingDecisionHandler", route)
            .handler("ConditionalApproval::StepHandlers::FinalizeApprovalHandler", names)
            .handler("BatchProcessing::StepHandlers::CsvAnalyzerHandler", analyze)
            .handler("BatchProcessing::StepHandlers::CsvBatchProcessorHandler", process)
            .handler("BatchProcessing::StepHandlers::CsvResultsAggregatorHandler", aggregate)
            .handler("DomainEvents::StepHandlers::ProcessPaymentHandler", pay)
            .start()
            .await?;
        Ok(Self { stack, worker, pool })
    }

    async fn complete(&self, namespace: &str, name: &str, context: Value) -> Result<TaskDetail> {
        complete(&self.stack.api(0)?, &task(namespace, name, context)).await
    }

    /// The names and payloads of the events in the queue, sorted by name. Deletes them.
    async fn events(&self) -> Result<Vec<(String, Value)>> {
        let queue = self
            .stack
            .api(0)?
            .list_namespaces()
            .await?
            .namespaces
            .into_iter()
            .find_map(|space| (space.namespace == "domain_events").then_some(space.event_queue)?);
        let queue = queue.context("the namespace has no queue for events")?;
        Ok(sqlx::query_as(
            "with read as (select msg_id, message from pgmq.read($1, 30, 100)),
                  gone as (select pgmq.delete($1, array(select msg_id from read)))
             select message ->> 'event_name', message -> 'payload' from read
             where (select count(*) from gone) >= 0 order by 1",
        )
        .bind(queue)
        .fetch_all(&self.pool)
        .await?)
    }

    async fn stop(self) {
        self.worker.stop().await;
        self.pool.close().await;
    }
}

#[tokio::test]
async fn an_approval_takes_the_branches_of_its_amount() -> Result<()> {
    let published = Published::start().await?;
    for (amount, ran) in [
        (999.99, vec!["auto_approve"]),
        (1000.0, vec!["manager_approval"]),
        (5000.0, vec!["finance_review", "manager_approval"]),
    ] {
        let done = published.complete("conditional_approval", "approval_routing", json!({ "amount": amount })).await?;
        assert_eq!(step(&done, "finalize_approval")?.result, Some(json!({ "approved_by": ran })));
        let branches = ["auto_approve", "finance_review", "manager_approval"];
        for name in branches {
            let expected = if ran.contains(&name) { StepState::Completed } else { StepState::Skipped };
            assert_eq!(step(&done, name)?.status, expected, "{amount}: {name}");
        }
    }
    published.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_file_is_processed_in_batches_with_checkpoints() -> Result<()> {
    let published = Published::start().await?;
    for (context, workers, failed, processed) in [
        (json!({ "rows": 1000 }), 5, 0, 1000),
        (json!({ "rows": 950, "bad_row": 401 }), 5, 1, 750),
        (json!({ "rows": 0 }), 1, 0, 0),
    ] {
        let done = published.complete("csv_processing", "csv_product_inventory_analyzer", context.clone()).await?;
        let total = context["rows"].as_u64().filter(|rows| *rows > 0);
        assert_eq!(
            step(&done, "aggregate_csv_results")?.result,
            Some(json!({ "workers": workers, "failed": failed, "processed": processed, "total": total }))
        );
        if total.is_some() {
            // The checkpoint is no attempt.
            assert_eq!(step(&done, "process_csv_batch_001")?.attempts, 1);
        }
    }
    published.stop().await;
    Ok(())
}

#[tokio::test]
async fn events_are_published_as_their_conditions_say() -> Result<()> {
    let published = Published::start().await?;
    published.complete("domain_events", "domain_event_publishing", json!({ "order_id": "1" })).await?;
    let success = json!({ "success": true });
    assert_eq!(
        published.events().await?,
        [
            ("inventory.updated".to_owned(), success.clone()),
            ("order.validated".to_owned(), success),
            ("payment.processed".to_owned(), json!({ "transaction_id": "txn_1" })),
        ]
    );
    let context = json!({ "order_id": "2", "simulate_failure": true });
    let api = published.stack.api(0)?;
    let blocked = run(&api, &task("domain_events", "domain_event_publishing", context)).await?;
    assert_eq!(blocked.summary.status, TaskState::BlockedByFailures);
    let events = published.events().await?;
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["order.validated", "payment.failed"]);
    ensure!(events[1].1["kind"] == "PAYMENT_DECLINED", "{events:?}");
    published.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_namespace_with_the_name_of_a_queue_of_events_is_refused() -> Result<()> {
    let mut stack = OwnStack::start().await?;
    stack.start_server()?;
    let api = stack.api(0)?;
    api.apply_template(EVENTS).await?;
    let other = "{name: t, namespace_name: domain_events_domain_events, version: 1.0.0,
                  steps: [{name: a, handler: {callable: a}}]}";
    let refused = api.apply_template(other).await;
    let Err(tasker_client::ClientError::Problem(problem)) = refused else { anyhow::bail!("{refused:?}") };
    let detail = problem.detail;
    assert_eq!(problem.status, 400, "{detail}");
    ensure!(detail.contains("which holds the events of another namespace; choose another name"), "{detail}");
    Ok(())
}

#[tokio::test]
async fn the_changes_of_the_environment_apply() -> Result<()> {
    for (environment, attempts) in [("test", 1), ("", 2)] {
        let mut stack = OwnStack::start().await?;
        stack.environment = environment;
        stack.start_server()?;
        stack.start_worker()?;
        let api = stack.api(0)?;
        let template = json!({
            "name": "t", "namespace_name": "faults", "version": "1.0.0",
            "steps": [
                fault_step("a", "faults.fail_times", json!({ "failures": 1 })),
                fault_step("b", "faults.sleep", json!({ "ms": 2000 })),
            ],
            "environments": { "test": { "steps": [
                { "name": "ALL", "retry": { "limit": 1 } },
                { "name": "a", "handler": { "initialization": { "failures": 0 } } },
                { "name": "b", "timeout_seconds": 1 },
            ] } },
        });
        api.apply_template(&template.to_string()).await?;
        let done = run(&api, &task("faults", "t", json!({}))).await?;
        let a = step(&done, "a")?;
        assert_eq!((a.status, a.attempts), (StepState::Completed, attempts), "{environment}");
        let b = step(&done, "b")?;
        match environment {
            "test" => {
                assert_eq!((b.status, b.attempts, b.max_attempts), (StepState::Failed, 1, 1));
                assert_eq!(b.error.as_ref().map(|error| &error["kind"]), Some(&json!("timeout")));
            }
            _ => assert_eq!((b.status, b.attempts, b.max_attempts), (StepState::Completed, 1, 3)),
        }
        // What is stored is what was written.
        assert_eq!(api.get_template("faults", "t", None).await?.definition["environments"], template["environments"]);
    }
    Ok(())
}
