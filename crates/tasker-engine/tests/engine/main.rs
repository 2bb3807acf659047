//! The engine's SQL functions on a real PostgreSQL, with a clock that the tests set: no test waits for a lease or a backoff.

mod bench;
mod claims;
mod housekeeping;
mod invariants;
mod plans;
mod queue;
mod retries;
#[path = "../support/mod.rs"]
mod support;
