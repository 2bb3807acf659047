//! The integration suite. It uses a stack only through its HTTP APIs.
//!
//! If `TASKER_TEST_ORCHESTRATION_URL` and `TASKER_TEST_WORKER_URL` are set, it uses that stack, which may have other
//! users. Otherwise every test starts a stack of its own: a private PostgreSQL, `tasker-server` and `rust-worker`, on
//! free ports. The tests in `own_stack`, `kills` and `versions` stop processes or need several of them, and those in
//! `published` run a worker with handlers of their own, so they always start their own stack. Those in `kills` and
//! `published` also read the database. `TASKER_TEST_WORKER` is the program of another sample worker, which these stacks use
//! instead of `rust-worker`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod api;
mod cancellation;
mod cli;
mod client;
mod failures;
mod idempotency;
mod kills;
mod monitoring;
mod operators;
mod own_stack;
mod published;
mod samples;
mod shape;
mod templates;
mod traces;
mod versions;
mod workflows;
