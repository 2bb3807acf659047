//! The engine's SQL functions against a small model of their promised behaviour.
//!
//! `interleavings` replays random actions on random graphs one after another. After each action it compares every row
//! with the model. `ways` claims and completes single steps the short way and in sets, and compares all tables.
//! `concurrency` performs such actions on many connections at once, and checks that there are no errors, no deadlocks and no
//! lost results. `shapes` does the same as `interleavings` with workflows that take shape while they run, and checks
//! invariants instead of every row.

mod actions;
mod cases;
mod concurrency;
mod facts;
mod graphs;
mod history;
mod interleavings;
mod invariants;
mod model;
mod shapes;
#[path = "../support/mod.rs"]
mod support;
mod ways;
