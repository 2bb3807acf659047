//! The server among hostile clients, careless clients, and a database that cannot be written.

mod hostile;
#[path = "../access/http.rs"]
mod http;
mod protocol;
mod read_only;
mod server;
