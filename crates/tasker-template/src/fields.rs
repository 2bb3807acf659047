//! Reads the fields of a mapping one by one, reports wrong values, and keeps the fields that nobody reads.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::finding::{Position, Report};
use crate::published::Unused;
use crate::yaml::{Content, Entry, Node};

/// The longest name, in bytes, that gets a suggestion: comparing longer names with many others takes seconds.
const MAX_SUGGESTED: usize = 40;

/// A value of the tree and its path.
pub(crate) struct Field {
    pub(crate) node: Node,
    pub(crate) path: String,
}

impl Field {
    /// Reports a value of the wrong type.
    pub(crate) fn expected(&self, what: &str, report: &mut Report<'_>) {
        let found = self.node.kind();
        report.error(self.node.at, &self.path, format!("expected {what}, found {found}"));
    }

    pub(crate) fn error(&self, message: impl AsRef<str>, report: &mut Report<'_>) {
        report.error(self.node.at, &self.path, message);
    }

    pub(crate) fn text(&self, report: &mut Report<'_>) -> Option<&str> {
        if let Content::Scalar(Value::String(text)) = &self.node.content {
            return Some(text);
        }
        self.expected("a string", report);
        None
    }

    pub(crate) fn boolean(&self, report: &mut Report<'_>) -> Option<bool> {
        if let Content::Scalar(Value::Bool(value)) = self.node.content {
            return Some(value);
        }
        self.expected("true or false", report);
        None
    }

    /// Reads an integer. The error names the range.
    pub(crate) fn integer(&self, range: RangeInclusive<u32>, report: &mut Report<'_>) -> Option<u32> {
        let number = match &self.node.content {
            Content::Scalar(Value::Number(number)) if !number.is_f64() => number,
            _ => {
                self.expected("an integer", report);
                return None;
            }
        };
        let value = number.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
        if value.is_none() {
            self.error(format!("must be between {} and {}, not {number}", range.start(), range.end()), report);
        }
        value
    }

    /// Reads one of the names, and returns its value.
    pub(crate) fn one_of<T: Copy>(&self, names: &[(&'static str, T)], report: &mut Report<'_>) -> Option<T> {
        let text = self.text(report)?;
        if let Some((_, value)) = names.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let known = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        self.error(format!("must be one of {known}, not `{text}`"), report);
        None
    }

    pub(crate) fn list(self, report: &mut Report<'_>) -> Option<Vec<Self>> {
        let Content::List(items) = self.node.content else {
            self.expected("a list", report);
            return None;
        };
        let item = |(i, node)| Self { node, path: format!("{}[{i}]", self.path) };
        Some(items.into_iter().enumerate().map(item).collect())
    }

    /// The values of a mapping whose keys are names.
    pub(crate) fn entries(self, report: &mut Report<'_>) -> Option<Vec<(String, Self)>> {
        let Content::Mapping(entries) = self.node.content else {
            self.expected("a mapping", report);
            return None;
        };
        let entry = |Entry { key, value, .. }| {
            let path = format!("{}.{key}", self.path);
            (key, Self { node: value, path })
        };
        Some(entries.into_iter().map(entry).collect())
    }

    pub(crate) fn fields(self, report: &mut Report<'_>) -> Option<Fields> {
        let Content::Mapping(entries) = self.node.content else {
            self.expected("a mapping", report);
            return None;
        };
        Some(Fields { at: self.node.at, path: self.path, entries, known: Vec::new() })
    }
}

/// The fields of a mapping that are not read yet.
pub(crate) struct Fields {
    pub(crate) at: Position,
    pub(crate) path: String,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Takes a field that may be absent. Null means absent, too.
    pub(crate) fn optional(&mut self, name: &'static str) -> Option<Field> {
        self.present(name).filter(|field| !field.node.is_null())
    }

    /// Reads a field that also stays among the fields as written.
    pub(crate) fn kept(&mut self, name: &'static str) -> Option<Field> {
        self.known.push(name);
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        (!entry.value.is_null()).then(|| Field { node: entry.value.clone(), path: self.path_of(name) })
    }

    /// Takes a field that may be absent. Null is a value.
    pub(crate) fn present(&mut self, name: &'static str) -> Option<Field> {
        self.known.push(name);
        let index = self.entries.iter().position(|entry| entry.key == name)?;
        Some(Field { node: self.entries.remove(index).value, path: self.path_of(name) })
    }

    /// The text of a field, if it is one. The field is not taken.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        match &self.entries.iter().find(|entry| entry.key == name)?.value.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Takes a field that has a second name in published templates. Both names at once are an error.
    pub(crate) fn optional_alias(
        &mut self,
        name: &'static str,
        alias: &'static str,
        report: &mut Report<'_>,
    ) -> Option<Field> {
        let first = self.optional(name);
        let second = self.optional(alias);
        if let (Some(_), Some(second)) = (&first, &second) {
            second.error(format!("`{alias}` is another name for `{name}`; keep one of them"), report);
        }
        first.or(second)
    }

    pub(crate) fn required(&mut self, name: &'static str, report: &mut Report<'_>) -> Option<Field> {
        let field = self.optional(name);
        if field.is_none() {
            report.error(self.at, &self.path_of(name), format!("`{name}` is required"));
        }
        field
    }

    /// Returns the fields that nobody has taken, and warns about each that has no effect. A field of `unused` gets no
    /// warning while its value asks for nothing.
    pub(crate) fn rest(self, unused: &[Unused], report: &mut Report<'_>) -> Map<String, Value> {
        for entry in &self.entries {
            let path = self.path_of(&entry.key);
            match unused.iter().find(|field| field.name == entry.key) {
                Some(field) if !field.is_missed(&entry.value) => {}
                Some(field) => report.warn(entry.at, &path, format!("has no effect: {}", field.instead())),
                None if self.known.contains(&entry.key.as_str()) => {}
                None => {
                    let suggestion = did_you_mean(&entry.key, self.known.iter().copied());
                    report.warn(entry.at, &path, format!("unknown field, which has no effect{suggestion}"));
                }
            }
        }
        self.entries.into_iter().map(|entry| (entry.key, entry.value.to_json())).collect()
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Returns `; did you mean ...?` if a candidate is similar to `name`, otherwise an empty text.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    if name.len() > MAX_SUGGESTED {
        return String::new();
    }
    candidates
        .map(|candidate| (strsim::jaro(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}
