//! The templates of the sample worker.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use tasker_template::{InputValidator, TaskTemplate, parse};

fn samples() -> BTreeMap<String, TaskTemplate> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tasker-worker-rust/templates");
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    files
        .map(|file| {
            let source = fs::read_to_string(&file).unwrap();
            let parsed = parse(&source, file.to_str()).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(parsed.warnings, [], "{}", file.display());
            let template = parsed.template;
            assert_eq!(file.file_stem().unwrap(), template.name.as_str());
            (format!("{}/{}", template.namespace_name, template.name), template)
        })
        .collect()
}

/// The names of the steps, level by level.
fn levels(template: &TaskTemplate) -> Vec<Vec<&str>> {
    let name = |step: u16| template.steps[usize::from(step)].name.as_str();
    template.levels().into_iter().map(|level| level.into_iter().map(name).collect()).collect()
}

#[test]
fn the_sample_workflows_have_these_graphs() {
    let samples = samples();
    let names: Vec<_> = samples.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "benchmark/sequential_noop",
            "benchmark/wide_noop",
            "billing/invoice",
            "billing/monthly_billing",
            "data_import/nightly_import",
            "diamond_workflow/diamond_pattern",
            "expenses/expense_approval",
            "linear_workflow/mathematical_sequence",
            "mixed_dag_workflow/complex_dag",
            "order_fulfillment/business_workflow",
            "order_routing/routed_order",
            "payments/charge_account",
            "tree_workflow/hierarchical_tree",
        ]
    );
    assert_eq!(
        levels(&samples["linear_workflow/mathematical_sequence"]),
        [["linear_step_1"], ["linear_step_2"], ["linear_step_3"], ["linear_step_4"]]
    );
    assert_eq!(
        levels(&samples["diamond_workflow/diamond_pattern"]),
        [vec!["diamond_start"], vec!["diamond_branch_b", "diamond_branch_c"], vec!["diamond_end"]]
    );
    assert_eq!(
        levels(&samples["tree_workflow/hierarchical_tree"]),
        [
            vec!["tree_root"],
            vec!["tree_branch_left", "tree_branch_right"],
            vec!["tree_leaf_d", "tree_leaf_e", "tree_leaf_f", "tree_leaf_g"],
            vec!["tree_final_convergence"],
        ]
    );
    assert_eq!(
        levels(&samples["mixed_dag_workflow/complex_dag"]),
        [
            vec!["dag_init"],
            vec!["dag_process_left", "dag_process_right"],
            vec!["dag_validate", "dag_transform", "dag_analyze"],
            vec!["dag_finalize"],
        ]
    );
    assert_eq!(
        levels(&samples["order_fulfillment/business_workflow"]),
        [["validate_order"], ["reserve_inventory"], ["process_payment"], ["ship_order"]]
    );
    assert_eq!(
        levels(&samples["order_routing/routed_order"]),
        [vec!["route"], vec!["approve_by_rule", "review", "check_credit"], vec!["dispatch"]]
    );
    let counts = |name: &str| samples[name].levels().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(counts("benchmark/sequential_noop"), [1, 1, 1]);
    assert_eq!(counts("benchmark/wide_noop"), [1, 50, 1]);
}

#[test]
fn handlers_are_named_after_their_steps() {
    for (_, template) in samples() {
        for step in &template.steps {
            let expected = match template.namespace_name.as_str() {
                _ if step.task.is_some() => String::new(),
                "benchmark" => "benchmark.noop".to_owned(),
                namespace => format!("{namespace}.{}", step.name),
            };
            assert_eq!(step.callable(), expected);
        }
    }
}

#[test]
fn the_samples_check_their_input() {
    for (name, template) in samples() {
        let Some(schema) = &template.input_schema else {
            assert!(name.starts_with("benchmark/"), "{name}");
            continue;
        };
        let validator = InputValidator::new(schema).unwrap();
        let example = match name.as_str() {
            "billing/invoice" => json!({"id": "a-7", "usage_cents": 4200}),
            "billing/monthly_billing" => json!({"month": "2026-11", "account": {}}),
            "data_import/nightly_import" => json!({"records": []}),
            "expenses/expense_approval" => json!({"employee": "ada", "amount_cents": 4200}),
            "order_routing/routed_order" => json!({"total_cents": 0}),
            "payments/charge_account" => json!({"account_id": "a-7", "amount_cents": 1}),
            _ => json!(null),
        };
        if !example.is_null() {
            assert_eq!(validator.validate(&example), Ok(()), "{name}");
            assert!(validator.validate(&json!({})).is_err(), "{name}");
        } else if name == "order_fulfillment/business_workflow" {
            let mut order = json!({
                "customer": {"id": 7, "email": "ada@example.com"},
                "items": [{"sku": "TEA-1", "quantity": 2, "unit_price_cents": 450}],
                "payment": {"method": "card", "token": "tok_1"},
                "shipping": {
                    "address": {"street": "1 Mill Lane", "city": "Bath", "postal_code": "BA1", "country": "GB"},
                },
            });
            assert_eq!(validator.validate(&order), Ok(()));
            order["items"] = json!([]);
            assert_eq!(validator.validate(&order).unwrap_err()[0].pointer, "/items");
        } else {
            assert_eq!(validator.validate(&json!({"even_number": 6})), Ok(()));
            for wrong in [json!({}), json!({"even_number": 5}), json!({"even_number": 0}), json!({"even_number": "6"})]
            {
                assert!(validator.validate(&wrong).is_err(), "{name}: {wrong}");
            }
        }
    }
}
