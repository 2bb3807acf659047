//! What the processes of Tasker share.
//!
//! - [`settings`]: settings files, merged and checked;
//! - [`logging`]: structured logs on standard error;
//! - [`probe`]: the health check that the binaries run on themselves;
//! - [`shutdown`]: the signals that stop a process.

pub mod logging;
pub mod probe;
pub mod settings;
pub mod shutdown;
