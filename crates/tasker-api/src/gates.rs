//! Gates: how many steps of a namespace run at once, and how many start in a time.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::check::gate_limit;

/// How many steps start in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GateRate {
    /// How many steps start in `per_seconds`: 1 to 100,000.
    #[schema(minimum = 1, maximum = 100_000)]
    pub limit: u32,
    /// The time, in seconds: up to seven days.
    #[schema(minimum = 1, maximum = 604_800)]
    pub per_seconds: u32,
    /// How many steps may start at once: 1 to `limit`. The others start evenly spread.
    #[schema(minimum = 1, maximum = 100_000)]
    pub burst: u32,
}

/// A gate, and how many steps are at it. Its limits count for each key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gate {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The most steps of a key that run at once. Zero: the gate is closed. Absent if no template sets `concurrency`.
    pub limit: Option<u32>,
    /// How many steps of a key start in a time. Absent if no template sets `rate`.
    pub rate: Option<GateRate>,
    /// The limit of the template that was stored last. It differs from `limit` if an operator has set that.
    pub template_limit: Option<u32>,
    /// The rate of the template that was stored last.
    pub template_rate: Option<GateRate>,
    /// How many steps hold a slot, up to 10,001.
    pub holding: i64,
    /// How many steps wait for a slot, up to 10,001.
    pub waiting: i64,
    /// When its limits were changed last.
    pub updated_at: DateTime<Utc>,
}

/// The response to `GET /v1/gates/{namespace}/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateDetail {
    /// The gate.
    #[serde(flatten)]
    pub gate: Gate,
    /// Steps that hold a slot, the first 100 in the order of their keys.
    pub holders: Vec<GateHolder>,
}

/// A step that holds a slot of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateHolder {
    /// The key. Absent if the gate has none.
    pub key: Option<String>,
    /// The task.
    pub task_uuid: Uuid,
    /// The name of the step.
    pub step: String,
    /// Since when it holds the slot.
    pub since: DateTime<Utc>,
}

/// The response to `GET /v1/gates`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateList {
    /// The gates, by namespace and name.
    pub gates: Vec<Gate>,
}

/// The request `PATCH /v1/gates/{namespace}/{name}`. A field that is absent does not change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchGate {
    /// The most steps of a key that run at once, 0 to 100,000, whatever templates say. 0 closes the gate. Null: as the
    /// templates say again.
    #[serde(default, deserialize_with = "present_limit", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, maximum = 100_000)]
    pub limit: Option<Option<u32>>,
    /// How many steps of a key start in a time, whatever templates say. Null: as the templates say again.
    #[serde(default, deserialize_with = "present_rate", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PatchGateRate>)]
    pub rate: Option<Option<PatchGateRate>>,
}

/// The change of a rate. A field that is absent keeps the value that counts now: that of an operator, or else that of
/// the templates. A gate without a rate needs `limit` and `per_seconds`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchGateRate {
    /// How many steps start in `per_seconds`: 1 to 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub limit: Option<u32>,
    /// The time, in seconds: up to seven days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 604_800)]
    pub per_seconds: Option<u32>,
    /// How many steps may start at once: 1 to `limit`. If it is absent, it stays, but becomes lower with `limit`. If
    /// the gate has had no rate, it is `limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub burst: Option<u32>,
}

/// Reads a field that is present, so that null differs from absent.
fn present_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    gate_limit(deserializer).map(Some)
}

/// The same for a rate.
fn present_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<PatchGateRate>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
