//! The server among hostile clients, careless clients, and a database that cannot be written.

mod bodies;
mod hostile;
#[path = "../access/http.rs"]
mod http;
mod outage;
mod protocol;
mod read_only;
mod server;
mod standby;
