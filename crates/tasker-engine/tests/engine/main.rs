//! The engine's SQL functions on a real PostgreSQL. The tests set the clock, so no test waits for a lease or a backoff.

mod child_tasks;
mod claims;
mod constraints;
mod dead_letters;
mod events;
mod failures;
mod fixture;
mod gates;
mod operate;
mod plans;
mod queue;
mod retention;
mod retries;
mod schedules;
mod shape;
mod staleness;
#[path = "../support/mod.rs"]
mod support;
mod traces;
mod waits;
