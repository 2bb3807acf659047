//! Arithmetic: every step squares the product of its dependencies' values.

use num_bigint::BigUint;
use serde_json::{Value, json};
use tasker_worker::{HandlerError, HandlerResult, StepContext};

/// The callables of the four arithmetic workflows.
pub(crate) const CALLABLES: [&str; 23] = [
    "linear_workflow.linear_step_1",
    "linear_workflow.linear_step_2",
    "linear_workflow.linear_step_3",
    "linear_workflow.linear_step_4",
    "diamond_workflow.diamond_start",
    "diamond_workflow.diamond_branch_b",
    "diamond_workflow.diamond_branch_c",
    "diamond_workflow.diamond_end",
    "tree_workflow.tree_root",
    "tree_workflow.tree_branch_left",
    "tree_workflow.tree_branch_right",
    "tree_workflow.tree_leaf_d",
    "tree_workflow.tree_leaf_e",
    "tree_workflow.tree_leaf_f",
    "tree_workflow.tree_leaf_g",
    "tree_workflow.tree_final_convergence",
    "mixed_dag_workflow.dag_init",
    "mixed_dag_workflow.dag_process_left",
    "mixed_dag_workflow.dag_process_right",
    "mixed_dag_workflow.dag_validate",
    "mixed_dag_workflow.dag_transform",
    "mixed_dag_workflow.dag_analyze",
    "mixed_dag_workflow.dag_finalize",
];

/// The largest integer that every JSON parser reads exactly.
const MAX_EXACT: u64 = 1 << 53;

/// Squares the product of the dependencies' values, or the task's `even_number` if there are no dependencies.
pub(crate) async fn square(step: StepContext) -> HandlerResult {
    let factors = match step.dependency_results().as_object() {
        Some(results) if !results.is_empty() => {
            results.iter().map(|(name, result)| number(&result["value"], name)).collect::<Result<_, _>>()?
        }
        _ => vec![number(&step.context()["even_number"], "even_number")?],
    };
    let product: BigUint = factors.iter().product();
    Ok(json!({"value": to_json(&(&product * &product))}))
}

fn number(value: &Value, name: &str) -> Result<BigUint, HandlerError> {
    let number = match value {
        Value::Number(number) => number.as_u64().map(BigUint::from),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        HandlerError::permanent(format!(
            "{name} must be an integer from 0 to 2^64 - 1, or a string of decimal digits, but is {value}"
        ))
        .with_kind("bad_input")
    })
}

fn to_json(number: &BigUint) -> Value {
    match u64::try_from(number) {
        Ok(small) if small <= MAX_EXACT => json!(small),
        _ => json!(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_exact_in_json() {
        assert_eq!(to_json(&BigUint::from(MAX_EXACT)), json!(9_007_199_254_740_992_u64));
        assert_eq!(to_json(&BigUint::from(MAX_EXACT + 1)), json!("9007199254740993"));
        assert_eq!(number(&json!("9007199254740993"), "n"), Ok(BigUint::from(MAX_EXACT + 1)));
        for wrong in [json!(-2), json!(2.5), json!("two"), json!(null)] {
            assert!(number(&wrong, "n").is_err(), "{wrong}");
        }
    }
}
