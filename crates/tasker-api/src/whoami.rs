//! The caller: who a key or a token belongs to, and what it allows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The response to `GET /v1/whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    /// The name that the history shows, such as `key:shop`. Absent on a server without keys.
    pub name: Option<String>,
    /// What the caller may do: `read`, `submit`, `operate`.
    pub scopes: Vec<String>,
    /// The namespaces that the caller may use. Absent: every namespace.
    pub namespaces: Option<Vec<String>>,
    /// Whether the server asks for keys. Without keys, everyone may do everything.
    pub keys: bool,
}
