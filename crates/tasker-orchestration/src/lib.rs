//! Tasker's server: the REST API and the services behind it.
//!
//! - [`Server`] listens, runs and shuts down;
//! - [`openapi`] describes the API.
//!
//! A server holds no state that the database lacks. Any number of servers can run on one database, and any of them
//! may die.

mod filter;
mod rest;
mod server;
mod services;
mod trace;

pub use rest::access::{AccessError, BadKey};
pub use rest::openapi;
pub use server::{Server, StartError};
