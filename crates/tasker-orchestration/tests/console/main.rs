//! The routes under the web console, on a real database: what they show, to whom, and how they find it.

#[path = "../access/http.rs"]
mod http;
#[path = "../access/server.rs"]
mod server;

mod bulk;
mod events;
mod find;
mod inspect;
mod page;
mod stats;
mod support;
