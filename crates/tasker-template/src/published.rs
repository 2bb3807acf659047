//! Fields that are kept but have no effect, and what happens instead: those of tasker-core's published templates that
//! do not apply here, and those of features that the engine does not run yet.

use serde_json::Value;

use crate::feature::Feature;
use crate::yaml::Node;

/// A known field that is kept but has no effect.
pub(crate) struct Unused {
    pub(crate) name: &'static str,
    /// A value that asks for nothing, as an empty one does.
    default: Option<&'static str>,
    why: Why,
}

enum Why {
    /// The field has no meaning here. This happens instead.
    Published(&'static str),
    /// The field has an effect once the feature is supported.
    Feature(Feature),
}

impl Unused {
    /// What happens instead.
    pub(crate) fn instead(&self) -> &'static str {
        match self.why {
            Why::Published(instead) => instead,
            Why::Feature(feature) => feature.instead(),
        }
    }

    /// Whether the value asks for something that does not happen.
    pub(crate) fn is_missed(&self, value: &Node) -> bool {
        if matches!(self.why, Why::Feature(feature) if feature.is_supported()) {
            return false;
        }
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
    Unused { name, default: None, why: Why::Published(instead) }
}

const fn of(name: &'static str, feature: Feature) -> Unused {
    Unused { name, default: None, why: Why::Feature(feature) }
}

const INFORMATION: &str = "it is only information";

pub(crate) const TEMPLATE: &[Unused] = &[
    unused("domain_events", "each step lists the events that it publishes"),
    of("environments", Feature::Environments),
    unused("loaded_from", INFORMATION),
    unused("system_dependencies", INFORMATION),
    unused("task_handler", "only steps have handlers"),
];

pub(crate) const STEP: &[Unused] = &[
    of("batch_config", Feature::Batches),
    unused("composition", "the step runs the handler that `handler.callable` names"),
    of("concurrency", Feature::Concurrency),
    unused("lifecycle", "use `retry` and `timeout_seconds`"),
    of("map", Feature::Maps),
    of("publishes_events", Feature::Events),
    of("rate", Feature::Rate),
    unused("result_schema", "results are not checked"),
    unused("system_dependency", INFORMATION),
    of("task", Feature::ChildTasks),
    of("wait", Feature::Waits),
    of("when", Feature::Conditions),
];

/// Inside `lifecycle`.
pub(crate) const LIFECYCLE: &[Unused] = &[
    of("auto_dlq_on_timeout", Feature::Staleness),
    of("auto_fail_on_timeout", Feature::Staleness),
    of("max_duration_minutes", Feature::TimeLimits),
    of("max_steps_in_process_minutes", Feature::Staleness),
    of("max_waiting_for_dependencies_minutes", Feature::Staleness),
    of("max_waiting_for_retry_minutes", Feature::Staleness),
    of("staleness_action", Feature::TimeLimits),
];

pub(crate) const EVENT: &[Unused] = &[unused("publisher", "events have one publisher, the engine")];

pub(crate) const HANDLER: &[Unused] = &[
    Unused { name: "method", default: Some("call"), why: Why::Published("`callable` alone selects the handler") },
    unused("resolver", "`callable` alone selects the handler"),
];

pub(crate) const RETRY: &[Unused] = &[
    unused("initial_delay", "use `backoff_base_ms`, in milliseconds"),
    unused("max_delay", "use `max_backoff_ms`, in milliseconds"),
];
