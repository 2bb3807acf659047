//! The values by which tasks can be found.

use serde_json::Value;
use tasker_api::limits::MAX_SEARCHABLE_CHARS;

use crate::services::templates::CheckedTemplate;

/// The values by which a task can be found: its tags, and what its template calls searchable.
pub(super) fn values(template: &CheckedTemplate, context: &Value, tags: Option<&Value>) -> Vec<(String, String)> {
    let text = |tag: &Value| tag.as_str().unwrap_or_default().to_owned();
    let mut values: Vec<_> = match tags {
        Some(Value::Array(tags)) => tags.iter().map(|tag| (String::new(), text(tag))).collect(),
        Some(Value::Object(tags)) => tags.iter().map(|(name, tag)| (name.clone(), text(tag))).collect(),
        _ => Vec::new(),
    };
    values.extend(searchable(template, context));
    values
}

/// The searchable values of a context: texts, numbers and booleans.
pub(super) fn searchable(template: &CheckedTemplate, context: &Value) -> impl Iterator<Item = (String, String)> {
    let pointers = template.stored.searchable.as_ref().and_then(Value::as_array).into_iter().flatten();
    pointers.filter_map(|pointer| {
        let pointer = pointer.as_str()?;
        let text = match context.pointer(pointer)? {
            Value::String(text) => text.clone(),
            value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((pointer.to_owned(), text.chars().take(MAX_SEARCHABLE_CHARS).collect()))
    })
}
