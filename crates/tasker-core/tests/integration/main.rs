//! The integration suite: it talks HTTP and knows only addresses.
//!
//! With `TASKER_TEST_ORCHESTRATION_URL` and `TASKER_TEST_WORKER_URL` set, it uses that stack, which others may be using too. Without
//! them every test starts its own: a private PostgreSQL, the real `tasker-server` and `rust-worker`, on free ports. Tests in
//! `own_stack` and `kills` kill processes, or need several of them, so they always start their own; those in `kills` also read
//! the tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod api;
mod cancellation;
mod cli;
mod client;
mod failures;
mod idempotency;
mod kills;
mod operators;
mod own_stack;
mod templates;
mod workflows;
