//! Fields of published tasker-core templates that this engine keeps but does not obey, with what happens instead.

use serde_json::Value;

use super::yaml::Node;

/// A field that is known, kept, and without effect here.
pub(super) struct Unused {
    pub(super) name: &'static str,
    /// The value, besides none or an empty one, that asks for nothing.
    default: Option<&'static str>,
    pub(super) instead: &'static str,
}

impl Unused {
    /// Whether the value asks for something that will not happen.
    pub(super) fn is_missed(&self, value: &Node) -> bool {
        match value.to_json() {
            Value::Null => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::String(text) => self.default != Some(text.as_str()),
            _ => true,
        }
    }
}

const fn unused(name: &'static str, instead: &'static str) -> Unused {
    Unused { name, default: None, instead }
}

const INFORMATION: &str = "it is information only";
const NO_EVENTS: &str = "no domain events are published";
const ORDINARY: &str = "every step runs once, as an ordinary step";

pub(super) const TEMPLATE: &[Unused] = &[
    unused("domain_events", NO_EVENTS),
    unused("environments", "the same settings hold in every environment"),
    unused("lifecycle", "a task has no time limits of its own; its steps have `timeout_seconds`"),
    unused("loaded_from", INFORMATION),
    unused("system_dependencies", INFORMATION),
    unused("task_handler", "only steps have handlers"),
];

pub(super) const STEP: &[Unused] = &[
    unused("batch_config", "the step is not split into batches"),
    unused("composition", "the step runs the handler that `handler.callable` names"),
    unused("lifecycle", "use `retry` and `timeout_seconds`"),
    unused("publishes_events", NO_EVENTS),
    unused("result_schema", "results are not checked"),
    unused("system_dependency", INFORMATION),
    Unused { name: "step_type", default: Some("standard"), instead: ORDINARY },
    Unused { name: "type", default: Some("standard"), instead: ORDINARY },
];

pub(super) const HANDLER: &[Unused] = &[
    Unused { name: "method", default: Some("call"), instead: "`callable` alone selects the handler" },
    unused("resolver", "`callable` alone selects the handler"),
];

pub(super) const RETRY: &[Unused] = &[
    unused("initial_delay", "use `backoff_base_ms`, in milliseconds"),
    unused("max_delay", "use `max_backoff_ms`, in milliseconds"),
];
