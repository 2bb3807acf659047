//! Draws the graph of a template in layers, after Sugiyama: each step stands right of its dependencies, edges cross
//! rarely, and steps stand close to their neighbours.
//!
//! The crate `rust-sugiyama` does not say where long edges pass other nodes, so this module does it itself.

use std::collections::HashMap;

use tasker_api::{GraphLayout, LayoutEdge, LayoutNode, Place};

use crate::TaskTemplate;

/// This many steps with the same handler or task, dependencies and dependents, or more, are drawn as one node.
const MERGED_FROM: usize = 4;
/// How often the layers are ordered, in each direction.
const SWEEPS: usize = 6;
/// Long edges of a graph that needs more bends than this are drawn straight.
const MAX_BENDS: usize = 20_000;
/// The distance between two nodes of a column.
const GAP: f64 = 1.0;
/// The distance between a bend and its neighbours in the column.
const BEND_GAP: f64 = 0.5;

impl TaskTemplate {
    /// Where each step of the graph is drawn. The same template always has the same layout.
    pub fn layout(&self) -> GraphLayout {
        let groups = merged(self);
        let mut group_of = vec![0; self.steps.len()];
        for (group, steps) in groups.iter().enumerate() {
            steps.iter().for_each(|step| group_of[usize::from(*step)] = group);
        }
        let mut column_of = vec![0; groups.len()];
        let levels = self.levels();
        for (column, level) in levels.iter().enumerate() {
            level.iter().for_each(|step| column_of[group_of[usize::from(*step)]] = column);
        }
        let mut edges: Vec<(usize, usize)> = Vec::new();
        for (to, steps) in groups.iter().enumerate() {
            let step = steps.first().copied().map_or(0, usize::from);
            edges.extend(self.dependencies_of(step).iter().map(|from| (group_of[usize::from(*from)], to)));
        }
        edges.sort_unstable();
        edges.dedup();

        let mut layers = Layers::new(&column_of, &edges);
        layers.order();
        let rows = layers.rows();
        let place = |vertex: usize| Place { column: number(layers.column_of[vertex]), row: rounded(rows[vertex]) };
        let nodes = groups.iter().enumerate().map(|(id, steps)| {
            let first = steps.first().map(|step| &self.steps[usize::from(*step)]);
            LayoutNode {
                id: number(id),
                steps: steps.iter().map(|step| self.steps[usize::from(*step)].name.clone()).collect(),
                callable: first.map(|step| step.callable().to_owned()).unwrap_or_default(),
                task: first.and_then(|step| step.task.as_ref()).map(|task| task.template.clone()),
                at: place(id),
            }
        });
        let nodes: Vec<_> = nodes.collect();
        let edges = edges.iter().zip(&layers.bends).map(|((from, to), bends)| LayoutEdge {
            from: number(*from),
            to: number(*to),
            bends: bends.clone().map(&place).collect(),
        });
        let height = rows.iter().copied().fold(0.0, f64::max);
        GraphLayout {
            columns: number(levels.len()),
            // Rows are small and not negative.
            rows: height.ceil() as u32 + 1,
            nodes,
            edges: edges.collect(),
        }
    }
}

/// The steps of each node, in the order of their first steps.
fn merged(template: &TaskTemplate) -> Vec<Vec<u16>> {
    let key = |step: u16| {
        let number = usize::from(step);
        let step = &template.steps[number];
        let mut dependencies = template.dependencies_of(number).to_vec();
        dependencies.sort_unstable();
        (step.callable(), step.task.as_ref().map(|task| &task.template), dependencies, template.dependents_of(number))
    };
    let steps = || (0..).take(template.steps.len());
    let mut alike: HashMap<_, Vec<u16>> = HashMap::new();
    for step in steps() {
        alike.entry(key(step)).or_default().push(step);
    }
    let mut groups = Vec::new();
    for step in steps() {
        let Some(group) = alike.get(&key(step)) else { continue };
        if group.len() < MERGED_FROM {
            groups.push(vec![step]);
        } else if group.first() == Some(&step) {
            groups.push(group.clone());
        }
    }
    groups
}

/// The vertices of the graph, layer by layer. Vertices after the nodes are bends of edges that skip a column.
struct Layers {
    nodes: usize,
    /// The column of each vertex.
    column_of: Vec<usize>,
    /// The vertices of each column, from top to bottom.
    columns: Vec<Vec<usize>>,
    /// The neighbours of each vertex in the column before and in the column after.
    left: Vec<Vec<usize>>,
    right: Vec<Vec<usize>>,
    /// The bends of each edge.
    bends: Vec<std::ops::Range<usize>>,
}

impl Layers {
    fn new(column_of_nodes: &[usize], edges: &[(usize, usize)]) -> Self {
        let nodes = column_of_nodes.len();
        let mut column_of = column_of_nodes.to_vec();
        let skipped = |(from, to): &(usize, usize)| column_of_nodes[*to].saturating_sub(column_of_nodes[*from] + 1);
        let straight = edges.iter().map(skipped).sum::<usize>() > MAX_BENDS;
        let mut pairs = Vec::new();
        let mut bends = Vec::new();
        for edge @ (from, to) in edges {
            let first = column_of.len();
            let count = if straight { 0 } else { skipped(edge) };
            column_of.extend((1..=count).map(|place| column_of_nodes[*from] + place));
            bends.push(first..column_of.len());
            let stations: Vec<_> =
                std::iter::once(*from).chain(first..column_of.len()).chain(std::iter::once(*to)).collect();
            pairs.extend(stations.windows(2).map(|pair| (pair[0], pair[1])));
        }
        let (mut left, mut right) = (vec![Vec::new(); column_of.len()], vec![Vec::new(); column_of.len()]);
        for (from, to) in pairs {
            right[from].push(to);
            left[to].push(from);
        }
        let mut columns = vec![Vec::new(); column_of.iter().max().map_or(0, |last| last + 1)];
        for (vertex, column) in column_of.iter().enumerate() {
            columns[*column].push(vertex);
        }
        Self { nodes, column_of, columns, left, right, bends }
    }

    /// Orders every column by the mean place of the neighbours, back and forth, and keeps the order with the fewest
    /// crossings.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.columns.clone());
        for _ in 0..SWEEPS {
            for forward in [true, false] {
                let mut place = self.places();
                let columns: Vec<usize> = (0..self.columns.len()).collect();
                let order: Box<dyn Iterator<Item = &usize>> =
                    if forward { Box::new(columns.iter()) } else { Box::new(columns.iter().rev()) };
                for column in order {
                    let neighbours = if forward { &self.left } else { &self.right };
                    let mean = |vertex: &usize| mean_of(&neighbours[*vertex], &place).unwrap_or(place[*vertex]);
                    let mut sorted: Vec<_> =
                        self.columns[*column].iter().map(|vertex| (mean(vertex), *vertex)).collect();
                    sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
                    self.columns[*column] = sorted.into_iter().map(|(_, vertex)| vertex).collect();
                    for (row, vertex) in (0_u32..).zip(&self.columns[*column]) {
                        place[*vertex] = f64::from(row);
                    }
                }
                let crossings = self.crossings();
                if crossings < best.0 {
                    best = (crossings, self.columns.clone());
                }
            }
        }
        self.columns = best.1;
    }

    /// The place of each vertex in its column.
    fn places(&self) -> Vec<f64> {
        let mut place = vec![0.0; self.column_of.len()];
        for column in &self.columns {
            for (row, vertex) in (0_u32..).zip(column) {
                place[*vertex] = f64::from(row);
            }
        }
        place
    }

    /// How many pairs of edges cross: the inversions among the ends of the edges, counted in a Fenwick tree.
    fn crossings(&self) -> u64 {
        let mut row = vec![0; self.column_of.len()];
        for column in &self.columns {
            column.iter().enumerate().for_each(|(place, vertex)| row[*vertex] = place);
        }
        let mut count = 0;
        for pair in self.columns.windows(2) {
            let mut tree = vec![0_u64; pair[1].len() + 1];
            let mut seen = 0;
            for vertex in &pair[0] {
                let mut ends: Vec<usize> = self.right[*vertex]
                    .iter()
                    .filter(|end| self.column_of[**end] == self.column_of[*vertex] + 1)
                    .map(|end| row[*end])
                    .collect();
                ends.sort_unstable();
                for end in &ends {
                    let (mut at, mut not_below) = (end + 1, 0);
                    while at > 0 {
                        not_below += tree[at];
                        at &= at - 1;
                    }
                    count += seen - not_below;
                }
                for end in ends {
                    let mut at = end + 1;
                    while at < tree.len() {
                        tree[at] += 1;
                        at += at & at.wrapping_neg();
                    }
                    seen += 1;
                }
            }
        }
        count
    }

    /// The row of each vertex: as close to the neighbours as the order and the distances allow.
    fn rows(&self) -> Vec<f64> {
        let mut row = self.places();
        for _ in 0..SWEEPS {
            for column in &self.columns {
                self.settle(column, &self.left, &mut row);
            }
            for column in self.columns.iter().rev() {
                self.settle(column, &self.right, &mut row);
            }
        }
        let top = row.iter().copied().fold(f64::INFINITY, f64::min);
        row.iter_mut().for_each(|row| *row -= top);
        row
    }

    /// Moves the vertices of a column towards the mean row of their neighbours, with the least squares of deviations:
    /// vertices that are too close become one block, and the block stands at its mean.
    fn settle(&self, column: &[usize], neighbours: &[Vec<usize>], row: &mut [f64]) {
        let mut offset = Vec::with_capacity(column.len());
        let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
        let mut below = 0.0;
        for (place, vertex) in column.iter().enumerate() {
            if place > 0 {
                let bend = *vertex >= self.nodes || column[place - 1] >= self.nodes;
                below += if bend { BEND_GAP } else { GAP };
            }
            offset.push(below);
            let wanted = mean_of(&neighbours[*vertex], row).unwrap_or(row[*vertex]) - below;
            let (mut sum, mut weight, mut count) = (wanted, 1.0, 1);
            while let Some((other, of, members)) = blocks.last().copied() {
                if other / of <= sum / weight {
                    break;
                }
                blocks.pop();
                (sum, weight, count) = (sum + other, weight + of, count + members);
            }
            blocks.push((sum, weight, count));
        }
        let starts = blocks.into_iter().flat_map(|(sum, weight, count)| std::iter::repeat_n(sum / weight, count));
        for ((vertex, offset), start) in column.iter().zip(offset).zip(starts) {
            row[*vertex] = start + offset;
        }
    }
}

fn mean_of(neighbours: &[usize], place: &[f64]) -> Option<f64> {
    let count = u32::try_from(neighbours.len()).ok().filter(|count| *count > 0)?;
    Some(neighbours.iter().map(|neighbour| place[*neighbour]).sum::<f64>() / f64::from(count))
}

/// Templates have at most a thousand steps.
fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Two decimals are enough for a picture.
fn rounded(row: f64) -> f64 {
    (row * 100.0).round() / 100.0
}
