//! Checks the input of a task (its `context`) against the template's `input_schema`.

use jsonschema::{ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;

/// The most errors reported for one input.
const MAX_ERRORS: usize = 10;

/// A compiled JSON Schema. Drafts 4 to 2020-12, by the schema's `$schema`; 2020-12 without one.
///
/// References (`$ref`) must lead to a place in the schema itself: nothing is ever fetched.
#[derive(Clone, Debug)]
pub struct InputValidator(Validator);

/// What does not fit at one place of a JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("at `{pointer}`: {message}")]
pub struct InputError {
    /// JSON pointer of the place, such as `/items/0/quantity`; empty for the document itself.
    pub pointer: String,
    /// What is wrong. Values from the document are not repeated: they may be secret, or large.
    pub message: String,
}

impl InputValidator {
    /// Compiles a schema.
    ///
    /// # Errors
    /// The schema is not a valid JSON Schema, or refers to something outside itself. The pointer leads into the schema.
    pub fn new(schema: &Value) -> Result<Self, InputError> {
        let validator = jsonschema::options()
            .offline()
            .build(schema)
            .map_err(|error| InputError { pointer: error.instance_path().to_string(), message: error.to_string() })?;
        Ok(Self(validator))
    }

    /// Checks an input.
    ///
    /// # Errors
    /// What does not fit the schema: the first ten errors.
    pub fn validate(&self, input: &Value) -> Result<(), Vec<InputError>> {
        let report = |error: ValidationError<'_>| InputError {
            pointer: error.instance_path().to_string(),
            message: error.masked().to_string(),
        };
        let errors: Vec<_> = self.0.iter_errors(input).take(MAX_ERRORS).map(report).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}
