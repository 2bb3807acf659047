//! The tasks of a campaign, and their expected results.
//!
//! They are the sample workflows and some more in namespace `faults`. All have the most attempts that a template may
//! have, because a campaign loses many attempts.

use anyhow::{Context, Result};
use fastrand::Rng;
use serde_json::{Map, Value, json};
use tasker_api::{CreateTask, TaskDetail, TaskState};
use tasker_client::OrchestrationApiClient;
use uuid::Uuid;

/// The version of the campaign's templates. It is named in every request, because each worker stores its own
/// templates too.
const VERSION: &str = "1000.0.0";
/// The step that an operator must resolve.
pub(crate) const DOOMED: &str = "doomed";
/// The signal for which a step waits.
pub(crate) const SIGNAL: &str = "go";

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plot {
    /// It completes.
    Completes,
    /// Its step [`DOOMED`] fails permanently. An operator retries it without success, then resolves it.
    NeedsOperator,
    /// It is cancelled while it is running.
    IsCancelled,
    /// A step waits for the signal [`SIGNAL`], which is sent early or late, and twice.
    NeedsSignal,
}

/// A task to be created.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) request: CreateTask,
    pub(crate) plot: Plot,
    /// The last step and its result, if they are predictable.
    outcome: Option<(&'static str, Value)>,
}

/// Stores the templates.
pub(crate) async fn store(api: &impl OrchestrationApiClient) -> Result<()> {
    for source in tasker_worker_rust::TEMPLATES {
        let mut template = serde_json::to_value(tasker_template::parse(source, None)?.template)?;
        template["version"] = json!(VERSION);
        for step in template["steps"].as_array_mut().context("a template has steps")? {
            step["retry"] = patience();
        }
        api.apply_template(&template.to_string()).await?;
    }
    let slow = json!([
        step("begin", "faults.sleep", json!({}), &[]),
        step("sleep", "faults.sleep", json!({ "ms": 300 }), &["begin"]),
        step("fail", "faults.fail_times", json!({ "failures": 2 }), &["begin"]),
        step("echo", "faults.echo", json!({}), &["begin"]),
        step("end", "faults.echo", json!({}), &["sleep", "fail", "echo"]),
    ]);
    let doomed = json!([
        step("begin", "faults.sleep", json!({ "ms": 500 }), &[]),
        step(DOOMED, "faults.permanent", json!({}), &["begin"]),
        step("end", "faults.echo", json!({}), &[DOOMED]),
    ]);
    // Its input is the outcome of the decision, and the list of the map.
    let shape = json!([
        with(step("route", "faults.echo", json!({}), &[]), json!({ "type": "decision" })),
        with(
            step("each", "faults.sleep", json!({ "ms": 50 }), &["route"]),
            json!({
                "map": { "step": "route", "pointer": "/items", "parallelism": 3 },
            })
        ),
        step("other", "faults.echo", json!({}), &["route"]),
        with(step("join", "faults.echo", json!({}), &["each", "other"]), json!({ "type": "deferred_convergence" })),
        with(step("pause", "faults.echo", json!({}), &["join"]), json!({ "wait": { "delay_seconds": 1 } })),
        with(step("gate", "faults.echo", json!({}), &["join"]), json!({ "wait": { "signal": SIGNAL } })),
        step("end", "faults.echo", json!({}), &["pause", "gate"]),
    ]);
    // Two of an account at once, and each child of the map for itself.
    let account = json!({ "gate": "account", "key": "/account", "limit": 2 });
    let gates = json!([
        with(step("pay", "faults.sleep", json!({ "ms": 100 }), &[]), json!({ "concurrency": account })),
        step("list", "faults.echo", json!({}), &["pay"]),
        with(
            step("each", "faults.sleep", json!({ "ms": 20 }), &["list"]),
            json!({ "map": { "step": "list", "pointer": "/items" }, "concurrency": account })
        ),
        with(
            step("mail", "faults.fail_times", json!({ "failures": 1 }), &["each"]),
            json!({ "rate": { "gate": "mailer", "limit": 40, "per_seconds": 1, "burst": 2 } })
        ),
        step("end", "faults.echo", json!({}), &["mail"]),
    ]);
    for (name, steps) in
        [("campaign_slow", slow), ("campaign_doomed", doomed), ("campaign_shape", shape), ("campaign_gates", gates)]
    {
        let template = json!({ "name": name, "namespace_name": "faults", "version": VERSION, "steps": steps });
        api.apply_template(&template.to_string()).await?;
    }
    Ok(())
}

fn step(name: &str, callable: &str, initialization: Value, dependencies: &[&str]) -> Value {
    json!({
        "name": name,
        "handler": { "callable": callable, "initialization": initialization },
        "dependencies": dependencies,
        "retry": patience(),
    })
}

/// A step with further fields.
fn with(mut step: Value, fields: Value) -> Value {
    if let (Value::Object(step), Value::Object(fields)) = (&mut step, fields) {
        step.extend(fields);
    }
    step
}

fn patience() -> Value {
    json!({ "limit": tasker_api::limits::MAX_ATTEMPTS, "backoff": "exponential", "backoff_base_ms": 50, "max_backoff_ms": 500 })
}

impl Work {
    /// Draws a random task.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let even = |namespace, name, last, power: &Value| {
            let request = request(namespace, name, json!({ "even_number": 6 }));
            Self { request, plot: Plot::Completes, outcome: Some((last, json!({ "value": power }))) }
        };
        // 6^16 and 6^64.
        let (p16, p64) = (json!(2_821_109_907_456_u64), json!("63340286662973277706162286946811886609896461828096"));
        match rng.u32(0..100) {
            0..6 => even("linear_workflow", "mathematical_sequence", "linear_step_4", &p16),
            6..12 => even("diamond_workflow", "diamond_pattern", "diamond_end", &p16),
            12..18 => even("tree_workflow", "hierarchical_tree", "tree_final_convergence", &p64),
            18..24 => even("mixed_dag_workflow", "complex_dag", "dag_finalize", &p64),
            24..30 => Self { request: order(), plot: Plot::Completes, outcome: None },
            30..32 => {
                Self { request: request("benchmark", "wide_noop", json!({})), plot: Plot::Completes, outcome: None }
            }
            32..38 => Self {
                request: request("faults", "campaign_doomed", json!({ "n": rng.u32(..) })),
                plot: Plot::NeedsOperator,
                outcome: None,
            },
            38..42 => {
                let context = json!({ "ms": 10_000 });
                Self { request: request("faults", "campaign_slow", context), plot: Plot::IsCancelled, outcome: None }
            }
            42..54 => {
                let context = json!({
                    "decision_point_outcome": { "type": "create_steps", "step_names": ["each"] },
                    "items": (0..rng.u32(0..12)).collect::<Vec<_>>(),
                });
                let request = request("faults", "campaign_shape", context.clone());
                Self { request, plot: Plot::NeedsSignal, outcome: Some(("end", context)) }
            }
            54..64 => {
                let context = json!({ "account": rng.u32(0..4), "items": [1, 2, 3] });
                let request = request("faults", "campaign_gates", context.clone());
                Self { request, plot: Plot::Completes, outcome: Some(("end", context)) }
            }
            _ => {
                let ms = rng.u32(1_000..8_000);
                let (mut request, context) = (slow(ms), json!({ "ms": ms }));
                // Sometimes ahead of older tasks.
                request.priority = (rng.u8(0..4) == 0).then(|| rng.i16(1..=100));
                Self { request, plot: Plot::Completes, outcome: Some(("end", context)) }
            }
        }
    }

    /// What is wrong with a task that is at rest, if anything.
    pub(crate) fn wrong(&self, task: &TaskDetail) -> Option<String> {
        let state = task.summary.status;
        let right = match self.plot {
            Plot::Completes | Plot::NeedsOperator | Plot::NeedsSignal => state == TaskState::Completed,
            Plot::IsCancelled => matches!(state, TaskState::Cancelled | TaskState::Completed),
        };
        let result = |name| task.steps.iter().find(|step| step.name == name).and_then(|step| step.result.as_ref());
        match &self.outcome {
            _ if !right => Some(format!("is in the wrong state: {task:?}")),
            Some((step, wanted)) if result(*step) != Some(wanted) => {
                Some(format!("has a wrong result, expected {wanted} of step {step}: {task:?}"))
            }
            _ => None,
        }
    }
}

/// A task of which three steps sleep so long, two of them one after the other.
pub(crate) fn slow(ms: u32) -> CreateTask {
    request("faults", "campaign_slow", json!({ "ms": ms }))
}

/// Every task has an idempotency key, so that repeating the request is safe.
fn request(namespace: &str, name: &str, context: Value) -> CreateTask {
    CreateTask {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        version: Some(VERSION.to_owned()),
        context: context.as_object().cloned().unwrap_or_else(Map::new),
        idempotency_key: Some(Uuid::now_v7().to_string()),
        priority: None,
        tags: None,
    }
}

fn order() -> CreateTask {
    let context = json!({
        "customer": { "id": 1, "email": "ada@example.org" },
        "items": [{ "sku": "A", "quantity": 2, "unit_price_cents": 1_250 }],
        "payment": { "method": "card", "token": "tok_1" },
        "shipping": {
            "address": { "street": "Main Street 1", "city": "Springfield", "postal_code": "12345", "country": "US" },
        },
    });
    request("order_fulfillment", "business_workflow", context)
}
