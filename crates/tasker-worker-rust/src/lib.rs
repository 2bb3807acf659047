//! The sample worker: the handlers of the sample workflows, as examples.
//!
//! | namespace | callables | input | result of a step |
//! |---|---|---|---|
//! | `linear_workflow`, `diamond_workflow`, `tree_workflow`, `mixed_dag_workflow` | one per step | `{"even_number": 6}` | `{"value": 1296}` |
//! | `order_fulfillment` | `validate_order`, `reserve_inventory`, `process_payment`, `ship_order` | an order | the order with everything that is known so far |
//! | `expenses` | `decide`, `reimburse`, `notify` | `{"employee": "ada", "amount_cents": 4200}`, and the signal `decision` with `{"approved": true, "by": "bob"}` | see below |
//! | `data_import` | `split`, `import_batch`, `report` | `{"records": [{"id": 1, "email": "ada@example.org"}], "batch_size": 2}` | the last step: `{"imported": 1, "failed": []}` |
//! | `order_routing` | `route`, `approve_by_rule`, `review`, `check_credit`, `dispatch` | `{"total_cents": 250000}` | the last step: the branches that ran |
//! | `billing` | `close_month`, `confirm`; `issue`, `send` | `{"month": "2026-11", "account": {"id": "a-7", "usage_cents": 4200}}` | the last step: `{"invoice_id": "inv_a-7"}` |
//! | `payments` | `charge`, `receipt` | `{"account_id": "a-7", "amount_cents": 4200}` | the last step: the receipt |
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
//! **Expenses** wait up to two days for the signal `decision`. Only approved ones are paid. **Imports** run in batches; a
//! record without an email address fails its batch (`bad_record`), and the report lists it. **Routed orders** of 100,000
//! cents and more take two branches, the others one. **Bills** run the task `invoice` as one of their steps.
//! **Payments** are charged one at a time for each account.
//!
//! **Faults** are for tests and experiments with failing handlers. They have no templates here: write your own, with
//! these settings in `initialization`:
//!
//! - `faults.fail_times` `{failures: 2}`: a retryable error in the first attempts, then `{"attempts": 3}`;
//! - `faults.permanent`: a permanent error;
//! - `faults.sleep` `{ms: 500}` (or `ms` in the task's context): `{"slept_ms": 500}`, if it is not cancelled before;
//! - `faults.panic`: panics;
//! - `faults.echo`: the task's context.

mod billing;
mod expenses;
mod faults;
mod imports;
mod math;
mod orders;
mod payments;
mod routing;
#[cfg(test)]
mod simulation;

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use tasker_runtime::settings;
use tasker_worker::{HandlerResult, StepContext, Worker, WorkerBuilder};

/// The templates of the sample workflows (YAML): the ten of the demo, the child task of one of them, and the two of the
/// benchmarks.
pub const TEMPLATES: [&str; 13] = [
    include_str!("../templates/mathematical_sequence.yaml"),
    include_str!("../templates/diamond_pattern.yaml"),
    include_str!("../templates/hierarchical_tree.yaml"),
    include_str!("../templates/complex_dag.yaml"),
    include_str!("../templates/business_workflow.yaml"),
    include_str!("../templates/expense_approval.yaml"),
    include_str!("../templates/nightly_import.yaml"),
    include_str!("../templates/routed_order.yaml"),
    include_str!("../templates/monthly_billing.yaml"),
    include_str!("../templates/invoice.yaml"),
    include_str!("../templates/charge_account.yaml"),
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
        .handler("expenses.decide", expenses::decide)
        .handler("expenses.reimburse", expenses::reimburse)
        .handler("expenses.notify", expenses::notify)
        .handler("data_import.split", imports::split)
        .handler("data_import.import_batch", imports::import_batch)
        .handler("data_import.report", imports::report)
        .handler("order_routing.route", routing::route)
        .handler("order_routing.approve_by_rule", routing::approve_by_rule)
        .handler("order_routing.review", routing::review)
        .handler("order_routing.check_credit", routing::check_credit)
        .handler("order_routing.dispatch", routing::dispatch)
        .handler("billing.close_month", billing::close_month)
        .handler("billing.confirm", billing::confirm)
        .handler("billing.issue", billing::issue)
        .handler("billing.send", billing::send)
        .handler("payments.charge", payments::charge)
        .handler("payments.receipt", payments::receipt)
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
