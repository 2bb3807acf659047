//! The layout of graphs.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tasker_api::GraphLayout;
use tasker_template::parse;

/// The layout of a template whose step `n` depends on the steps `dependencies[n]`, each with a handler of its own.
fn layout(dependencies: &[Vec<usize>], callable: impl Fn(usize) -> String) -> GraphLayout {
    let steps: Vec<_> = dependencies
        .iter()
        .enumerate()
        .map(|(number, needed)| {
            serde_json::json!({
                "name": format!("s{number}"),
                "handler": {"callable": callable(number)},
                "dependencies": needed.iter().map(|step| format!("s{step}")).collect::<Vec<_>>(),
            })
        })
        .collect();
    let source = serde_json::json!({"name": "t", "namespace_name": "n", "version": "1.0.0", "steps": steps});
    parse(&source.to_string(), None).unwrap().template.layout()
}

fn own(number: usize) -> String {
    format!("n.h{number}")
}

/// Checks what every picture must keep: edges go from left to right, through all columns between, and nodes of a column
/// do not overlap.
fn check(graph: &GraphLayout) {
    let mut columns: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for node in &graph.nodes {
        columns.entry(node.at.column).or_default().push(node.at.row);
        assert!(node.at.row >= 0.0 && node.at.row <= f64::from(graph.rows) && node.at.column < graph.columns);
    }
    for rows in columns.values_mut() {
        rows.sort_by(f64::total_cmp);
        assert!(rows.windows(2).all(|pair| pair[1] - pair[0] > 0.97), "{rows:?}");
    }
    let column = |id: u32| graph.nodes[usize::try_from(id).unwrap()].at.column;
    for edge in &graph.edges {
        let passed: Vec<_> = edge.bends.iter().map(|bend| bend.column).collect();
        assert_eq!(passed, (column(edge.from) + 1..column(edge.to)).collect::<Vec<_>>(), "{edge:?}");
    }
}

#[test]
fn a_diamond_is_drawn_as_a_diamond() {
    let graph = layout(&[vec![], vec![0], vec![0], vec![1, 2]], own);
    check(&graph);
    let places: Vec<_> = graph.nodes.iter().map(|node| (node.at.column, node.at.row)).collect();
    assert_eq!(places, [(0, 0.5), (1, 0.0), (1, 1.0), (2, 0.5)]);
    assert_eq!((graph.columns, graph.rows), (3, 2));
}

#[test]
fn identical_siblings_become_one_node() {
    let mut dependencies = vec![vec![]];
    dependencies.extend(vec![vec![0]; 240]);
    dependencies.push((1..=240).collect());
    let graph = layout(&dependencies, |number| if (1..=240).contains(&number) { "n.part".into() } else { own(number) });
    check(&graph);
    let sizes: Vec<_> = graph.nodes.iter().map(|node| node.steps.len()).collect();
    assert_eq!(sizes, [1, 240, 1]);
    assert_eq!(graph.edges.len(), 2);
    // Other handlers are other nodes.
    let graph = layout(&dependencies, own);
    assert_eq!(graph.nodes.len(), 242);
    check(&graph);
}

#[test]
fn steps_that_run_tasks_of_one_template_become_one_node() {
    let steps: Vec<_> = (0..8)
        .map(|number| {
            let template = if number < 4 { "invoice" } else { "refund" };
            serde_json::json!({"name": format!("s{number}"), "task": {"template": template}})
        })
        .collect();
    let source = serde_json::json!({"name": "t", "namespace_name": "n", "version": "1.0.0", "steps": steps});
    let graph = parse(&source.to_string(), None).unwrap().template.layout();
    let nodes: Vec<_> = graph.nodes.iter().map(|node| (node.steps.len(), node.task.as_deref())).collect();
    assert_eq!(nodes, [(4, Some("invoice")), (4, Some("refund"))]);
}

#[test]
fn a_long_edge_passes_beside_the_nodes_between() {
    let graph = layout(&[vec![], vec![0], vec![1], vec![2, 0]], own);
    check(&graph);
    let long = graph.edges.iter().find(|edge| (edge.from, edge.to) == (0, 3)).unwrap();
    for bend in &long.bends {
        let node = graph.nodes.iter().find(|node| node.at.column == bend.column).unwrap();
        assert!((bend.row - node.at.row).abs() >= 0.5, "{graph:?}");
    }
}

#[test]
fn edges_do_not_cross_without_need() {
    // Two chains whose second steps are written in the other order.
    let graph = layout(&[vec![], vec![], vec![1], vec![0]], own);
    let row = |id: usize| graph.nodes[id].at.row;
    assert_eq!(row(0) < row(1), row(3) < row(2), "{graph:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_graph_is_drawn_without_overlaps(
        drawn in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..60),
    ) {
        let dependencies: Vec<Vec<usize>> = drawn
            .iter()
            .enumerate()
            .map(|(number, needed)| {
                let mut needed: Vec<_> =
                    if number == 0 { vec![] } else { needed.iter().map(|index| index.index(number)).collect() };
                needed.sort_unstable();
                needed.dedup();
                needed
            })
            .collect();
        check(&layout(&dependencies, |number| own(number % 3)));
    }
}

#[test]
fn a_thousand_steps_are_drawn_in_time() {
    let dependencies: Vec<Vec<usize>> = (0..1000_usize)
        .map(|number| {
            let mut needed: Vec<_> = [7, 31, 113].iter().filter_map(|back| number.checked_sub(*back)).collect();
            needed.dedup();
            needed
        })
        .collect();
    let begun = std::time::Instant::now();
    check(&layout(&dependencies, own));
    // It takes about 50 ms in a release build.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
