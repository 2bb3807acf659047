//! The engine's SQL functions against a small model of what they promise.
//!
//! `interleavings` replays random actions on random graphs, one after another, and compares every row with the model after
//! each. `concurrency` lets many connections do the same things at once, and looks for errors, deadlocks and anything lost.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod actions;
mod concurrency;
mod facts;
mod graphs;
mod history;
mod interleavings;
mod invariants;
mod model;
#[path = "../support/mod.rs"]
mod support;
