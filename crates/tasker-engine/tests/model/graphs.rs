//! Random templates.

use anyhow::{Context, Result};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tasker_engine::Engine;
use tasker_template::Backoff;

/// The namespaces of the tests. `interleavings` uses one template at a time in each.
pub(crate) const NAMESPACES: [&str; 2] = ["model_a", "model_b"];

/// A step of a template. Its index in the graph is its number.
#[derive(Debug, Clone)]
pub(crate) struct StepPolicy {
    /// The numbers of the steps that it depends on.
    pub(crate) dependencies: Vec<usize>,
    pub(crate) max_attempts: i16,
    pub(crate) backoff: Backoff,
    pub(crate) base_ms: i64,
    pub(crate) max_backoff_ms: i64,
    pub(crate) timeout_seconds: i64,
}

pub(crate) type Graph = Vec<StepPolicy>;

/// Any graph of up to eight steps. Dependencies have either smaller or larger numbers than their dependents.
pub(crate) fn graph() -> impl Strategy<Value = Graph> {
    let backoff = prop_oneof![Just(Backoff::Fixed), Just(Backoff::Linear), Just(Backoff::Exponential)];
    let policy =
        (1..=3i16, backoff, prop_oneof![Just(0i64), Just(1000), Just(2000)], prop_oneof![Just(20i64), Just(90)]);
    (vec((any::<u8>(), policy), 1..=8), any::<bool>()).prop_map(|(steps, backwards)| {
        let last = steps.len() - 1;
        let number = |index: usize| if backwards { last - index } else { index };
        let mut graph: Graph = steps
            .into_iter()
            .enumerate()
            .map(|(index, (edges, (max_attempts, backoff, base_ms, timeout_seconds)))| StepPolicy {
                dependencies: (0..index).filter(|earlier| edges >> earlier & 1 == 1).map(number).collect(),
                max_attempts,
                backoff,
                base_ms,
                max_backoff_ms: 3000,
                timeout_seconds,
            })
            .collect();
        if backwards {
            graph.reverse();
        }
        graph
    })
}

pub(crate) fn step_name(number: usize) -> String {
    format!("s{number}")
}

/// Stores a graph as a template of a namespace. Returns the template's id.
pub(crate) async fn apply(engine: &Engine, namespace: &str, name: &str, graph: &Graph) -> Result<i64> {
    let steps: Vec<Value> = graph
        .iter()
        .enumerate()
        .map(|(number, step)| {
            json!({
                "name": step_name(number),
                "handler": { "callable": "model.step" },
                "dependencies": step.dependencies.iter().map(|dependency| step_name(*dependency)).collect::<Vec<_>>(),
                "retry": {
                    "limit": step.max_attempts, "backoff": step.backoff,
                    "backoff_base_ms": step.base_ms, "max_backoff_ms": step.max_backoff_ms,
                },
                "timeout_seconds": step.timeout_seconds,
            })
        })
        .collect();
    let source = json!({ "name": name, "namespace_name": namespace, "version": "1.0.0", "steps": steps }).to_string();
    let parsed = tasker_template::parse(&source, None).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    engine.apply_template(&parsed.template, "test").await?;
    Ok(engine.find_template(namespace, name, None).await?.context("the template is not stored")?.template_id)
}
