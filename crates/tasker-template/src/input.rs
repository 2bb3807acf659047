//! Checks the input of a task (its `context`) against the template's `input_schema`.

use jsonschema::{ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;

/// The largest number of errors that are reported about one input.
const MAX_ERRORS: usize = 10;

/// A compiled JSON Schema. `$schema` selects the draft, from 4 to 2020-12; without it, the draft is 2020-12.
///
/// References (`$ref`) must point into the schema itself. Nothing is ever fetched.
#[derive(Clone, Debug)]
pub struct InputValidator(Validator);

/// A value of a JSON document that does not match its schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("at `{pointer}`: {message}")]
pub struct InputError {
    /// The JSON pointer of the value, such as `/items/0/quantity`; empty for the whole document.
    pub pointer: String,
    /// What is wrong. The message does not quote the document, whose values may be secret or large.
    pub message: String,
}

impl InputValidator {
    /// Compiles a schema.
    ///
    /// # Errors
    /// When the schema is not a valid JSON Schema, or refers to something outside itself. The pointer points into the
    /// schema.
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
    /// The first ten values that do not match the schema.
    pub fn validate(&self, input: &Value) -> Result<(), Vec<InputError>> {
        let report = |error: ValidationError<'_>| InputError {
            pointer: error.instance_path().to_string(),
            message: error.masked().to_string(),
        };
        let errors: Vec<_> = self.0.iter_errors(input).take(MAX_ERRORS).map(report).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}
