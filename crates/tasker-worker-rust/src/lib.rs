//! The sample worker: the handlers of the sample workflows, as examples.
//!
//! | namespace | callables | input | result of a step |
//! |---|---|---|---|
//! | `linear_workflow`, `diamond_workflow`, `tree_workflow`, `mixed_dag_workflow` | one per step | `{"even_number": 6}` | `{"value": 1296}` |
//! | `order_fulfillment` | `validate_order`, `reserve_inventory`, `process_payment`, `ship_order` | an order | the order with everything that is known so far |
//! | `benchmark` | `noop` | anything | `null` |
//! | `benchmark` | `list` | `{"count": 3}` | `{"items": [0, 1, 2]}` |
//! | `faults` | `fail_times`, `permanent`, `sleep`, `panic`, `echo` | anything | see below |
//!
//! **Arithmetic** is exact: a step squares the product of its dependencies' values, or of `even_number` if it has
//! none. `value` is a JSON number up to 2^53, and a string of decimal digits beyond.
//!
//! **Orders** fail permanently (`invalid_order`) if they have no items, the same item twice, a quantity of zero or a
//! total beyond 2^64 cents. Payments fail permanently (`payment_declined`) if the method is `declined_card` or the
//! token is `tok_declined`. All ids derive from the task's id, so that a repeated attempt does not reserve, charge or
//! ship twice.
//!
//! **Faults** are for tests and experiments with failing handlers. They have no templates here: write your own, with
//! these settings in `initialization`:
//!
//! - `faults.fail_times` `{failures: 2}`: a retryable error in the first attempts, then `{"attempts": 3}`;
//! - `faults.permanent`: a permanent error;
//! - `faults.sleep` `{ms: 500}` (or `ms` in the task's context): `{"slept_ms": 500}`, if it is not cancelled before;
//! - `faults.panic`: panics;
//! - `faults.echo`: the task's context.

mod faults;
mod math;
mod orders;
#[cfg(test)]
mod simulation;

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use tasker_runtime::settings;
use tasker_worker::{HandlerResult, StepContext, Worker, WorkerBuilder};

/// The templates of the sample workflows (YAML): the five of the demo, and the two of the benchmarks.
pub const TEMPLATES: [&str; 7] = [
    include_str!("../templates/mathematical_sequence.yaml"),
    include_str!("../templates/diamond_pattern.yaml"),
    include_str!("../templates/hierarchical_tree.yaml"),
    include_str!("../templates/complex_dag.yaml"),
    include_str!("../templates/business_workflow.yaml"),
    include_str!("../templates/sequential_noop.yaml"),
    include_str!("../templates/wide_noop.yaml"),
];

/// The sample worker. The caller starts it.
pub fn worker(settings: settings::Worker, pool: PgPool) -> WorkerBuilder {
    let mut worker = Worker::builder(settings, pool).namespace("faults");
    for template in TEMPLATES {
        worker = worker.template(template);
    }
    for callable in math::CALLABLES {
        worker = worker.handler(callable, math::square);
    }
    worker
        .handler("order_fulfillment.validate_order", orders::validate_order)
        .handler("order_fulfillment.reserve_inventory", orders::reserve_inventory)
        .handler("order_fulfillment.process_payment", orders::process_payment)
        .handler("order_fulfillment.ship_order", orders::ship_order)
        .handler("benchmark.noop", |_| async { Ok(Value::Null) })
        .handler("benchmark.list", list)
        .handler("faults.fail_times", faults::fail_times)
        .handler("faults.permanent", faults::permanent)
        .handler("faults.sleep", faults::sleep)
        .handler("faults.panic", faults::panic)
        .handler("faults.echo", faults::echo)
}

/// A list of as many elements as the task's `count` says.
async fn list(step: StepContext) -> HandlerResult {
    #[derive(Deserialize)]
    struct Input {
        count: u32,
    }
    let Input { count } = step.input()?;
    Ok(json!({ "items": (0..count).collect::<Vec<_>>() }))
}
