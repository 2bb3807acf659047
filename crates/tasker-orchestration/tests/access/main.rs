//! Access: keys, tokens, scopes and namespaces, the settings that the server refuses, and the database's roles.

mod actors;
mod http;
mod namespaces;
mod operate;
mod refusals;
mod requests;
mod roles;
mod schedules;
mod server;
mod signer;
mod startup;
