//! Who may do what: keys, tokens and scopes, what the server refuses to start with, and the database's roles.

mod http;
mod requests;
mod roles;
mod signer;
mod startup;
