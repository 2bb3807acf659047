//! Breaks a stack of Tasker in every way that we know, and proves that nothing was lost.
//!
//! [`campaign::run`] starts a throw-away PostgreSQL, real servers and real workers, keeps hundreds of tasks running, and injects
//! faults that a seed decides: processes killed and suspended, PostgreSQL crashed, clocks moved, transactions of others
//! left open, and a worker that lies. Then it lets everything come to rest and checks:
//!
//! - every task whose creation was acknowledged is there, once, and has come to the state and the results that its workflow must reach;
//! - the tables agree with each other and with the history ([`consistency`]), no step has two results, no queue holds a message;
//! - no result counted that had the wrong token;
//! - the API never answered 500 while the database was there, no process panicked or ended by itself.
//!
//! Binary `tasker-chaos` prints the [`report::Report`].

pub mod campaign;
mod clock;
pub mod consistency;
mod faults;
mod field;
mod ledger;
mod load;
mod plan;
mod process;
mod recovery;
pub mod report;
mod stack;
mod workflows;
