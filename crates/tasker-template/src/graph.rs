//! The graph of a template's steps, by step number.

/// The edges in both directions. Steps are numbered from 0 in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    dependencies: Vec<Vec<u16>>,
    dependents: Vec<Vec<u16>>,
}

impl Graph {
    /// Creates the graph in which step `i` depends on the steps `dependencies[i]`.
    pub(crate) fn new(dependencies: Vec<Vec<u16>>) -> Self {
        let mut dependents = vec![Vec::new(); dependencies.len()];
        for (step, needed) in (0..).zip(&dependencies) {
            for &dependency in needed {
                if let Some(waiting) = dependents.get_mut(usize::from(dependency)) {
                    waiting.push(step);
                }
            }
        }
        Self { dependencies, dependents }
    }

    pub(crate) fn dependencies_of(&self, step: usize) -> &[u16] {
        self.dependencies.get(step).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn dependents_of(&self, step: usize) -> &[u16] {
        self.dependents.get(step).map_or(&[], Vec::as_slice)
    }

    /// The steps, level by level. The steps of the first level depend on nothing. Every other step is one level below
    /// the last of its dependencies. Steps in a cycle, and steps that depend on one, are in no level.
    pub(crate) fn levels(&self) -> Vec<Vec<u16>> {
        let mut waiting_for: Vec<usize> = self.dependencies.iter().map(Vec::len).collect();
        let mut level: Vec<u16> = (0..).zip(&waiting_for).filter(|(_, n)| **n == 0).map(|(step, _)| step).collect();
        let mut levels = Vec::new();
        while !level.is_empty() {
            let mut next = Vec::new();
            for &step in &level {
                for &dependent in self.dependents_of(usize::from(step)) {
                    let count = &mut waiting_for[usize::from(dependent)];
                    *count -= 1;
                    if *count == 0 {
                        next.push(dependent);
                    }
                }
            }
            next.sort_unstable();
            levels.push(std::mem::replace(&mut level, next));
        }
        levels
    }

    /// Finds cycles. In each, every step depends on the next one, and the last on the first. No two of the cycles share
    /// a step, and every other cycle shares a step with one of them.
    pub(crate) fn cycles(&self) -> Vec<Vec<u16>> {
        let count = self.dependencies.len();
        let mut cycles: Vec<Vec<u16>> = Vec::new();
        // A depth-first search. `followed` counts for each step how many of its dependencies are visited.
        let (mut entered, mut on_path, mut in_cycle) = (vec![false; count], vec![false; count], vec![false; count]);
        let mut followed = vec![0; count];
        for start in (0..).take(count) {
            let mut path: Vec<u16> = if entered[usize::from(start)] { Vec::new() } else { vec![start] };
            while let Some(&step) = path.last() {
                let i = usize::from(step);
                (entered[i], on_path[i]) = (true, true);
                let Some(&dependency) = self.dependencies[i].get(followed[i]) else {
                    on_path[i] = false;
                    path.pop();
                    continue;
                };
                followed[i] += 1;
                let d = usize::from(dependency);
                if !entered[d] {
                    path.push(dependency);
                } else if on_path[d] {
                    let cycle: Vec<u16> = path.iter().copied().skip_while(|s| *s != dependency).collect();
                    if !cycle.iter().any(|s| in_cycle[usize::from(*s)]) {
                        cycle.iter().for_each(|s| in_cycle[usize::from(*s)] = true);
                        cycles.push(cycle);
                    }
                }
            }
        }
        cycles
    }
}
