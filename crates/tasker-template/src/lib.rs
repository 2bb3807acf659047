//! The task template format: YAML (or JSON, which is YAML) to a checked [`TaskTemplate`].
//!
//! ```yaml
//! name: mathematical_sequence          # required; 1 to 128 characters
//! namespace_name: linear_workflow      # required; up to 47 letters, digits and `_`
//! version: 1.0.0                       # required; a full semantic version
//! description: "..."
//! metadata: { author: me }             # free-form
//! input_schema:                        # JSON Schema of a task's context; default: anything goes
//!   { type: object, required: [even_number], properties: { even_number: { type: integer, minimum: 2 } } }
//! steps:                               # required; 1 to 1,000
//!   - name: linear_step_1              # required; 1 to 128 characters, unique
//!     description: "..."
//!     handler:                         # required
//!       callable: linear_workflow.linear_step_1   # required; 1 to 255 characters
//!       initialization: { operation: square }     # free-form mapping, given to the handler; default: empty
//!     dependencies: []                 # names of up to 250 steps that must complete first; default: none
//!     retry:                           # each field has the default shown here
//!       retryable: true                # false: one attempt, whatever `limit` says
//!       limit: 3                       # attempts in all, 1 to 100
//!       backoff: exponential           # or linear, fixed
//!       backoff_base_ms: 1000          # delay before the second attempt
//!       max_backoff_ms: 30000          # longest delay; both up to 7 days
//!     timeout_seconds: 300             # of one attempt; 1 second to 7 days; default 300
//! ```
//!
//! Unknown fields are kept, at every level, and warned about. This includes the features of published tasker-core
//! templates that the engine does not run, such as `type: decision`: those load, with a warning that says what happens
//! instead. `depends_on` and `max_attempts`, which published templates also write, are read as `dependencies` and `limit`.
//!
//! Refused, besides values out of range: cycles, unknown, repeated and self dependencies, duplicate step names, duplicate
//! keys, an invalid `input_schema` or one that refers to anything outside itself, NUL characters (PostgreSQL stores none),
//! YAML tags and merge keys, more than one document, more than 1 MiB (as JSON, too). All errors are reported together, with line and
//! reason; only broken YAML syntax ends the search.
//!
//! ```
//! let errors = tasker_template::parse("name: a\nnamespace_name: b\nversion: 1.0\nsteps: []", Some("a.yaml"));
//! assert_eq!(
//!     errors.map_err(|errors| errors.to_string()),
//!     Err("a.yaml:3:10: version: expected a full semantic version such as 1.0.0, found a fractional number\n\
//!          a.yaml:4:8: steps: a template has 1 to 1000 steps, not 0".to_owned())
//! );
//! ```

mod decode;
mod fields;
mod finding;
mod graph;
mod input;
mod published;
mod scalar;
mod version;
mod yaml;

use semver::Version;
use serde::Serialize;
use serde_json::{Map, Value};

use self::finding::{Position, Report};
use self::graph::Graph;

pub use self::finding::{Finding, TemplateErrors};
pub use self::input::{InputError, InputValidator};
pub use self::version::version_key;
use tasker_api::limits::json_bytes;
pub use tasker_api::limits::{
    MAX_ATTEMPTS, MAX_BACKOFF_MS, MAX_CALLABLE_CHARS, MAX_DEPENDENCIES, MAX_NAME_CHARS, MAX_NAMESPACE_CHARS,
    MAX_SOURCE_BYTES, MAX_STEPS, MAX_TIMEOUT_SECONDS, MAX_VERSION_CHARS,
};

/// A workflow: its steps and what they depend on.
///
/// Made by [`parse`] only, so it always keeps the rules of the format. As JSON it is a template again, which parses to
/// the same value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TaskTemplate {
    /// Unique in the namespace, together with the version.
    pub name: String,
    /// The namespace, whose workers run the steps.
    pub namespace_name: String,
    /// Semantic version; see [`version_key`] for its order.
    pub version: Version,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Free-form, for people and tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// JSON Schema of a task's context; see [`InputValidator`]. Without one any context is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// In the order of the file, which numbers them from 0.
    pub steps: Vec<StepTemplate>,
    /// All other fields of the file, as written.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    #[serde(skip)]
    graph: Graph,
}

/// One step of a template.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepTemplate {
    /// Unique in the template.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What runs the step.
    pub handler: Handler,
    /// Names of the steps that must complete first, as written.
    pub dependencies: Vec<String>,
    /// What happens after a failed attempt.
    pub retry: RetryPolicy,
    /// How long one attempt may take, in seconds.
    pub timeout_seconds: u32,
    /// All other fields of the step, as written.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl StepTemplate {
    /// `timeout_seconds` where the template names none: five minutes.
    pub const DEFAULT_TIMEOUT_SECONDS: u32 = 300;
}

/// The code that runs a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Handler {
    /// The name under which a worker registered the code.
    pub callable: String,
    /// Settings for the handler: always a JSON object, empty by default.
    pub initialization: Value,
    /// All other fields of the handler, as written.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// When a failed step is tried again. [`Default`] is the policy of a step that names none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetryPolicy {
    /// Whether a failed attempt is repeated at all.
    pub retryable: bool,
    /// Attempts in all, the first included, as written; see [`Self::max_attempts`].
    pub limit: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// The delay before the second attempt, in milliseconds.
    pub backoff_base_ms: u32,
    /// The longest delay, in milliseconds; at least `backoff_base_ms`.
    pub max_backoff_ms: u32,
    /// All other fields of the policy, as written.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl RetryPolicy {
    /// How often the step is attempted at most: `limit`, or once if the step is not retryable.
    pub fn max_attempts(&self) -> u32 {
        if self.retryable { self.limit } else { 1 }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retryable: true,
            limit: 3,
            backoff: Backoff::Exponential,
            backoff_base_ms: 1000,
            max_backoff_ms: 30_000,
            extra: Map::new(),
        }
    }
}

/// How the delay between attempts grows, from `backoff_base_ms` up to `max_backoff_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Doubles each time.
    Exponential,
    /// Grows by `backoff_base_ms` each time.
    Linear,
    /// Stays the same.
    Fixed,
}

impl TaskTemplate {
    /// The numbers of the steps that step `step` depends on, as they are ordered in the file. None for a number out of
    /// range.
    pub fn dependencies_of(&self, step: usize) -> &[u16] {
        self.graph.dependencies_of(step)
    }

    /// The numbers of the steps that depend on step `step`, ascending. None for a number out of range.
    pub fn dependents_of(&self, step: usize) -> &[u16] {
        self.graph.dependents_of(step)
    }

    /// All step numbers in an order in which they can run: the first level depends on nothing, each other step comes one
    /// level after the last of its dependencies.
    pub fn levels(&self) -> Vec<Vec<u16>> {
        self.graph.levels()
    }
}

/// A template that keeps the rules, and what is odd about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The template.
    pub template: TaskTemplate,
    /// Settings that are kept but have no effect, in the order of the lines.
    pub warnings: Vec<Finding>,
}

/// Parses and checks a template. `file` is named in findings and not opened.
///
/// # Errors
/// Every error found, with its place.
pub fn parse(source: &str, file: Option<&str>) -> Result<Parsed, TemplateErrors> {
    let mut report = Report::new(file);
    let template = yaml::read(source, &mut report).and_then(|root| decode::template(root, &mut report));
    if let Some(bytes) = template.as_ref().map(json_bytes).filter(|bytes| *bytes > MAX_SOURCE_BYTES) {
        // Aliases, escapes and defaults are written out. What is stored must be a template that can be sent again.
        let message = format!("the template has {bytes} bytes as JSON; the limit is {MAX_SOURCE_BYTES}");
        report.error(Position::START, "", message);
    }
    report.finish(template).map(|(template, warnings)| Parsed { template, warnings })
}
