//! Domain events, as they are in the queue of their namespace.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// The query of `GET /v1/namespaces/{namespace}/events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListDomainEvents {
    /// Only events after this one: the `msg_id` of the last event that is known. Without it, the newest are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// The most events of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// The response to `GET /v1/namespaces/{namespace}/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DomainEventList {
    /// The events, the oldest first.
    pub events: Vec<DomainEvent>,
}

/// A domain event that is in the queue of its namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DomainEvent {
    /// Its number in the queue.
    pub msg_id: i64,
    /// When it was published.
    pub published_at: DateTime<Utc>,
    /// How many times a program has taken it. It stays in the queue until a program deletes it.
    pub reads: i32,
    /// The event: `event_id`, `event_name`, `outcome`, `payload` and `metadata`.
    #[schema(value_type = Object)]
    pub event: Value,
}
