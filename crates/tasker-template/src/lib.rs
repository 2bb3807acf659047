//! Task templates: the file format that describes a workflow, read and checked.
//!
//! A template lists the steps of a workflow. For each step it names the handler that runs it and the steps that must
//! complete first. [`parse`] reads a template from YAML, or from JSON, which is YAML as well. It returns a
//! [`TaskTemplate`] that the engine can run, or every error at once, each with its line, its column and what to do
//! about it. Nothing here needs a database: the server, the workers, the command line and tools of your own check
//! templates in the same way.
//!
//! ```
//! use serde_json::json;
//! use tasker_template::{InputValidator, parse};
//!
//! let source = "
//! name: greeting
//! namespace_name: hello
//! version: 1.0.0
//! input_schema: { type: object, required: [name] }
//! steps:
//!   - name: greet
//!     handler: { callable: hello.greet }
//!   - name: shout
//!     handler: { callable: hello.shout }
//!     dependencies: [greet]
//! ";
//! let template = parse(source, Some("greeting.yaml"))?.template;
//! assert_eq!(template.steps[1].dependencies, ["greet"]);
//! assert_eq!(template.levels(), [[0], [1]]);
//! assert_eq!(template.steps[0].retry.max_attempts(), 3);
//!
//! let schema = template.input_schema.ok_or("the template has no input_schema")?;
//! let input = InputValidator::new(&schema)?;
//! assert!(input.validate(&json!({"name": "Ada"})).is_ok());
//! assert!(input.validate(&json!({})).is_err());
//!
//! let misspelt = source.replace("[greet]", "[great]");
//! let errors = parse(&misspelt, Some("greeting.yaml")).map_err(|errors| errors.to_string());
//! let expected = "greeting.yaml:11:20: steps[1].dependencies[0]: no step is named `great`; did you mean `greet`?";
//! assert_eq!(errors, Err(expected.to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The format
//!
//! Every field, with its limits and its default:
//!
//! ```yaml
#![doc = include_str!("format.yaml")]
//! ```
//!
//! [`tasker_api::limits`] defines the limits.
//!
//! **Unknown fields** are kept, at every level, and reported as warnings. This includes the features of tasker-core's
//! published templates that the engine does not run, such as `type: decision`: such a template loads, and a warning
//! says what happens instead. Published templates also write `depends_on` and `max_attempts`, which mean `dependencies`
//! and `limit`.
//!
//! **Errors** are, apart from values out of range:
//!
//! - cycles, and dependencies that are unknown, repeated or on the step itself
//! - duplicate step names and duplicate keys
//! - an `input_schema` that is invalid or refers to anything outside itself
//! - NUL characters, which PostgreSQL cannot store
//! - YAML tags, merge keys and a second document
//! - more than [`MAX_SOURCE_BYTES`] of text, or of JSON when the template is written out
//!
//! All of them are reported together. Only broken YAML syntax ends the search.

mod decode;
mod fields;
mod finding;
mod graph;
mod input;
mod layout;
mod published;
mod scalar;
mod template;
mod version;
mod yaml;

use tasker_api::limits::{MAX_SOURCE_BYTES, json_bytes};

use crate::finding::{Position, Report};

pub use crate::finding::{Finding, TemplateErrors};
pub use crate::input::{InputError, InputValidator};
pub use crate::template::{Backoff, Handler, RetryPolicy, StepTemplate, TaskTemplate};
pub use crate::version::version_key;

/// A valid template, and the warnings about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The template.
    pub template: TaskTemplate,
    /// Settings that are kept but have no effect, in the order of the lines.
    pub warnings: Vec<Finding>,
}

/// Parses and checks a template. `file` is only a name for the findings; it is not opened.
///
/// # Errors
/// Every error in the template, each with its line and column.
pub fn parse(source: &str, file: Option<&str>) -> Result<Parsed, TemplateErrors> {
    let mut report = Report::new(file);
    let template = yaml::read(source, &mut report).and_then(|root| decode::template(root, &mut report));
    if let Some(bytes) = template.as_ref().map(json_bytes).filter(|bytes| *bytes > MAX_SOURCE_BYTES) {
        // JSON repeats what aliases stand for, and adds escapes and defaults. It must still be a template that can be
        // sent.
        let message = format!("the template has {bytes} bytes as JSON; the limit is {MAX_SOURCE_BYTES}");
        report.error(Position::START, "", message);
    }
    report.finish(template).map(|(template, warnings)| Parsed { template, warnings })
}
