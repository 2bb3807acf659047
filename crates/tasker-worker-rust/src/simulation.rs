//! Tests of the handlers without a database: runs the sample workflows in the order of their graphs.

use serde_json::{Map, Value, json};
use tasker_engine::ClaimedStep;
use tasker_template::TaskTemplate;
use tasker_worker::{HandlerResult, StepContext};
use uuid::Uuid;

use crate::{TEMPLATES, math, orders};

/// Runs a workflow until a step fails. Returns the result of the last step.
async fn run(template_name: &str, input: Value) -> HandlerResult {
    let template = TEMPLATES
        .iter()
        .map(|yaml| tasker_template::parse(yaml, None).unwrap().template)
        .find(|template| template.name == template_name)
        .unwrap();
    let mut results = Map::new();
    let mut last = Value::Null;
    for number in template.levels().into_iter().flatten() {
        let context = context(&template, usize::from(number), &input, &results);
        let name = context.step_name().to_owned();
        last = call(context).await?;
        results.insert(name, last.clone());
    }
    Ok(last)
}

fn context(template: &TaskTemplate, number: usize, input: &Value, results: &Map<String, Value>) -> StepContext {
    let step = &template.steps[number];
    let of_dependency = |name: &String| (name.clone(), results[name].clone());
    StepContext::new(ClaimedStep {
        task_id: Uuid::from_u128(7),
        step_no: 0,
        token: Uuid::nil(),
        msg_id: 0,
        namespace: template.namespace_name.clone(),
        template_name: template.name.clone(),
        template_version: template.version.to_string(),
        step_name: step.name.clone(),
        callable: step.callable().to_owned(),
        initialization: step.initialization(),
        context: input.clone(),
        dependency_results: step.dependencies.iter().map(of_dependency).collect::<Map<_, _>>().into(),
        attempt: 1,
        max_attempts: 3,
        timeout_seconds: 30,
        waited_seconds: None,
        input: None,
        traceparent: None,
    })
}

async fn call(step: StepContext) -> HandlerResult {
    match step.callable() {
        name if math::CALLABLES.contains(&name) => math::square(step).await,
        "order_fulfillment.validate_order" => orders::validate_order(step).await,
        "order_fulfillment.reserve_inventory" => orders::reserve_inventory(step).await,
        "order_fulfillment.process_payment" => orders::process_payment(step).await,
        "order_fulfillment.ship_order" => orders::ship_order(step).await,
        "benchmark.noop" => Ok(Value::Null),
        name => unreachable!("no handler {name}"),
    }
}

#[tokio::test]
async fn arithmetic_is_exact() {
    let to_the_64th = "63340286662973277706162286946811886609896461828096";
    for (template, of_six) in [
        ("mathematical_sequence", json!(2_821_109_907_456_u64)),
        ("diamond_pattern", json!(2_821_109_907_456_u64)),
        ("hierarchical_tree", json!(to_the_64th)),
        ("complex_dag", json!(to_the_64th)),
    ] {
        assert_eq!(run(template, json!({"even_number": 6})).await, Ok(json!({"value": of_six})), "{template}");
    }
}

#[tokio::test]
async fn an_input_beyond_2_to_the_53rd_is_exact() {
    let input = json!({"even_number": 18_446_744_073_709_551_614_u64});
    let n = num_bigint::BigUint::from(18_446_744_073_709_551_614_u64);
    assert_eq!(run("mathematical_sequence", input).await, Ok(json!({"value": n.pow(16).to_string()})));
}

#[tokio::test]
async fn noop_steps_return_null() {
    for template in ["sequential_noop", "wide_noop"] {
        assert_eq!(run(template, json!({})).await, Ok(Value::Null));
    }
}

#[tokio::test]
async fn a_list_is_as_long_as_the_task_says() {
    let template = tasker_template::parse(TEMPLATES[0], None).unwrap().template;
    let of = |input: Value| crate::list(context(&template, 0, &input, &Map::new()));
    assert_eq!(of(json!({"count": 3})).await, Ok(json!({"items": [0, 1, 2]})));
    assert!(of(json!({"count": -1})).await.is_err());
}

fn order(payment: Value) -> Value {
    json!({
        "customer": {"id": 1, "email": "ada@example.org"},
        "items": [
            {"sku": "A", "quantity": 2, "unit_price_cents": 1250},
            {"sku": "B", "quantity": 1, "unit_price_cents": 999},
        ],
        "payment": payment,
        "shipping": {"address": {"city": "London"}, "method": "express"},
    })
}

#[tokio::test]
async fn an_order_is_shipped_with_all_its_ids() {
    let task = "00000000000000000000000000000007";
    let shipped = run("business_workflow", order(json!({"method": "card", "token": "tok_1"}))).await;
    assert_eq!(
        shipped,
        Ok(json!({
            "customer": {"id": 1, "email": "ada@example.org"},
            "items": [
                {"sku": "A", "quantity": 2, "unit_price_cents": 1250},
                {"sku": "B", "quantity": 1, "unit_price_cents": 999},
            ],
            "item_count": 3,
            "total_cents": 3499,
            "reservations": [
                {"reservation_id": format!("res_{task}_A"), "sku": "A", "quantity": 2},
                {"reservation_id": format!("res_{task}_B"), "sku": "B", "quantity": 1},
            ],
            "payment_id": format!("pay_{task}"),
            "tracking_number": format!("trk_{task}"),
            "shipping": {"address": {"city": "London"}, "method": "express"},
        }))
    );
}

#[tokio::test]
async fn a_declined_payment_is_a_permanent_error() {
    for payment in [json!({"method": "declined_card"}), json!({"method": "card", "token": "tok_declined"})] {
        let error = run("business_workflow", order(payment)).await.unwrap_err();
        assert!(matches!(&error, tasker_worker::HandlerError::Permanent { kind, .. } if kind == "payment_declined"));
    }
}
