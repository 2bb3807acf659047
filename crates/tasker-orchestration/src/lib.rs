//! Tasker's server: the REST API and the services behind it.
//!
//! - [`Server`] binds, runs and shuts down;
//! - [`openapi`] is the API's description.
//!
//! A server holds no state that the database lacks: any number of them can run on one database, and any may die.

mod rest;
mod server;
mod services;

pub use rest::access::BadKey;
pub use rest::openapi;
pub use server::{Server, StartError};
