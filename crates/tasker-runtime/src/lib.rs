//! What the processes of Tasker share.
//!
//! - [`settings`]: reads, merges and checks settings files;
//! - [`logging`]: writes structured logs to standard error;
//! - [`http`]: serves HTTP, with limits on connections;
//! - [`probe`]: asks a running process whether it is healthy;
//! - [`telemetry`]: sends traces to an OTLP receiver;
//! - [`shutdown`]: catches the signals that stop a process.

pub mod http;
pub mod logging;
pub mod probe;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
