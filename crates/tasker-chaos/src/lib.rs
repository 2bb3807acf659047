//! Fault campaigns: break a complete Tasker stack in every known way, and prove that nothing was lost.
//!
//! [`campaign::run`] starts a throw-away PostgreSQL, real servers and real workers, and keeps hundreds of tasks
//! running, and some schedules due. A seed determines the faults that it injects: it kills and suspends processes,
//! crashes PostgreSQL, replaces it by a standby, makes it read-only, fills its disk, takes its connections, kills the
//! pooler in front of it, moves clocks, leaves foreign transactions open, and sends false results. Then it waits until
//! all tasks are at rest and checks that:
//!
//! - every task whose creation was acknowledged exists once and has the state and results that its workflow requires;
//! - the tables agree with each other and with the history ([`consistency`]), no step has two results, and all queues
//!   are empty;
//! - each time of a schedule has one task, or none where its rules of overlap and catch-up say so;
//! - no result with a wrong token was accepted;
//! - the API never answered 500 while the database was available, and no process panicked or exited unasked.
//!
//! The binary `tasker-chaos` prints the [`report::Report`]. Tests of other crates use [`consistency`] on its own.

pub mod campaign;
mod clock;
pub mod consistency;
mod disk;
mod faults;
mod field;
mod gate;
mod group;
mod ledger;
mod load;
mod plan;
mod pooler;
mod process;
mod recovery;
pub mod report;
mod schedules;
mod stack;
mod workflows;
