//! Takes a mapping of the tree apart, field by field: what is wrong is reported, what nobody asks for is kept.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::finding::{Position, Report};
use super::published::Unused;
use super::yaml::{Content, Entry, Node};

/// The longest name, in bytes, that others are compared with: comparing long ones with many takes seconds.
const MAX_SUGGESTED: usize = 40;

/// A value of the tree and its path.
pub(super) struct Field {
    pub(super) node: Node,
    pub(super) path: String,
}

impl Field {
    /// The error of a value of the wrong type.
    pub(super) fn expected(&self, what: &str, report: &mut Report<'_>) {
        let found = self.node.kind();
        report.error(self.node.at, &self.path, format!("expected {what}, found {found}"));
    }

    pub(super) fn error(&self, message: impl AsRef<str>, report: &mut Report<'_>) {
        report.error(self.node.at, &self.path, message);
    }

    pub(super) fn text(&self, report: &mut Report<'_>) -> Option<&str> {
        if let Content::Scalar(Value::String(text)) = &self.node.content {
            return Some(text);
        }
        self.expected("a string", report);
        None
    }

    pub(super) fn boolean(&self, report: &mut Report<'_>) -> Option<bool> {
        if let Content::Scalar(Value::Bool(value)) = self.node.content {
            return Some(value);
        }
        self.expected("true or false", report);
        None
    }

    /// An integer in a range, which the error names.
    pub(super) fn integer(&self, range: RangeInclusive<u32>, report: &mut Report<'_>) -> Option<u32> {
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

    pub(super) fn list(self, report: &mut Report<'_>) -> Option<Vec<Self>> {
        let Content::List(items) = self.node.content else {
            self.expected("a list", report);
            return None;
        };
        let item = |(i, node)| Self { node, path: format!("{}[{i}]", self.path) };
        Some(items.into_iter().enumerate().map(item).collect())
    }

    pub(super) fn fields(self, report: &mut Report<'_>) -> Option<Fields> {
        let Content::Mapping(entries) = self.node.content else {
            self.expected("a mapping", report);
            return None;
        };
        Some(Fields { at: self.node.at, path: self.path, entries, known: Vec::new() })
    }
}

/// The fields of a mapping that were not taken yet.
pub(super) struct Fields {
    pub(super) at: Position,
    pub(super) path: String,
    entries: Vec<Entry>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Takes a field that may be absent, which null also means.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<Field> {
        self.known.push(name);
        let index = self.entries.iter().position(|entry| entry.key == name)?;
        let node = self.entries.remove(index).value;
        (!node.is_null()).then(|| Field { node, path: self.path_of(name) })
    }

    /// Takes a field that has a second name in published templates. Both at once are refused.
    pub(super) fn optional_alias(
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

    pub(super) fn required(&mut self, name: &'static str, report: &mut Report<'_>) -> Option<Field> {
        let field = self.optional(name);
        if field.is_none() {
            report.error(self.at, &self.path_of(name), format!("`{name}` is required"));
        }
        field
    }

    /// The fields that are left, to be kept. Each is warned about, unless it is one of `unused` and asks for nothing.
    pub(super) fn rest(self, unused: &[Unused], report: &mut Report<'_>) -> Map<String, Value> {
        for entry in &self.entries {
            let path = self.path_of(&entry.key);
            match unused.iter().find(|field| field.name == entry.key) {
                Some(field) if !field.is_missed(&entry.value) => {}
                Some(field) => report.warn(entry.at, &path, format!("kept but not obeyed: {}", field.instead)),
                None => {
                    let suggestion = did_you_mean(&entry.key, self.known.iter().copied());
                    report.warn(entry.at, &path, format!("unknown field, kept but not obeyed{suggestion}"));
                }
            }
        }
        self.entries.into_iter().map(|entry| (entry.key, entry.value.to_json())).collect()
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// `; did you mean ...?` where a candidate is close to `name`, else nothing.
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    if name.len() > MAX_SUGGESTED {
        return String::new();
    }
    candidates
        .map(|candidate| (strsim::jaro(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}
