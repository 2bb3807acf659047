//! Fields of tasker-core's published templates that are kept but have no effect here, and what happens instead.

use serde_json::Value;

use crate::yaml::Node;

/// A known field that is kept but has no effect.
pub(crate) struct Unused {
    pub(crate) name: &'static str,
    /// A value that asks for nothing, as an empty one does.
    default: Option<&'static str>,
    pub(crate) instead: &'static str,
}

impl Unused {
    /// Whether the value asks for something that does not happen.
    pub(crate) fn is_missed(&self, value: &Node) -> bool {
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

const INFORMATION: &str = "it is only information";
const NO_EVENTS: &str = "domain events are not published";
const ORDINARY: &str = "every step runs once, as an ordinary step";

pub(crate) const TEMPLATE: &[Unused] = &[
    unused("domain_events", NO_EVENTS),
    unused("environments", "every environment has the same settings"),
    unused("lifecycle", "a task has no time limit; each step has `timeout_seconds`"),
    unused("loaded_from", INFORMATION),
    unused("system_dependencies", INFORMATION),
    unused("task_handler", "only steps have handlers"),
];

pub(crate) const STEP: &[Unused] = &[
    unused("batch_config", "the step is not split into batches"),
    unused("composition", "the step runs the handler that `handler.callable` names"),
    unused("lifecycle", "use `retry` and `timeout_seconds`"),
    unused("publishes_events", NO_EVENTS),
    unused("result_schema", "results are not checked"),
    unused("system_dependency", INFORMATION),
    Unused { name: "step_type", default: Some("standard"), instead: ORDINARY },
    Unused { name: "type", default: Some("standard"), instead: ORDINARY },
];

pub(crate) const HANDLER: &[Unused] = &[
    Unused { name: "method", default: Some("call"), instead: "`callable` alone selects the handler" },
    unused("resolver", "`callable` alone selects the handler"),
];

pub(crate) const RETRY: &[Unused] = &[
    unused("initial_delay", "use `backoff_base_ms`, in milliseconds"),
    unused("max_delay", "use `max_backoff_ms`, in milliseconds"),
];
