//! Prints values: tables for people, JSON for programs.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use console::Term;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// How many characters of a value a table shows.
const SHOWN: usize = 160;
/// The least width of a table's last column when it is wrapped, borders included.
const LAST_COLUMN: usize = 24;

/// Prints lines on standard output. A closed pipe, such as that of `head`, is not an error.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    print_on(text).map(|_| ())
}

/// The same. Returns whether somebody still reads.
pub(crate) fn print_on(text: impl Display) -> Result<bool, Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
    }
}

/// Prints a line on standard error.
pub(crate) fn note(text: impl Display) {
    // If standard error is closed, nobody reads it.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print(text)
}

/// A table with a header. On a terminal, wraps the last column if the table is too wide and the column has enough room.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| clean(&cell))));
    if let Some((_, width)) = Term::stdout().size_checked() {
        let mut columns = table.column_max_content_widths();
        columns.pop();
        // A cell has a border and a space on both sides.
        let taken: usize = columns.iter().map(|column| usize::from(*column) + 3).sum();
        if taken + LAST_COLUMN <= usize::from(width) {
            table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_constraints(columns.iter().map(|_| ColumnConstraint::ContentWidth));
        }
    }
    table.trim_fmt()
}

/// Names and values, one pair per line, without pairs that have no value.
pub(crate) fn facts<const N: usize>(facts: [(&str, Option<String>); N]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<_> = facts
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name:width$}  {}", clean(&value))))
        .collect();
    lines.join("\n")
}

/// The text without control characters, because foreign text must not control the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// A time in UTC, to the second.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The time between two times, if both are known.
pub(crate) fn between(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Option<String> {
    Some(length(to? - from?))
}

/// A duration: `12 ms`, `3.4 s`, `5 min`.
pub(crate) fn length(length: TimeDelta) -> String {
    let milliseconds = length.num_milliseconds();
    match milliseconds {
        ..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        60_000..7_200_000 => format!("{} min", milliseconds / 60_000),
        _ => format!("{} h", milliseconds / 3_600_000),
    }
}

/// A duration in seconds.
pub(crate) fn seconds(length: Duration) -> String {
    format!("{:.1} s", length.as_secs_f64())
}

/// A JSON value on one line. Long objects are shown without their nested values; what is still too long is cut.
pub(crate) fn short(value: &Value) -> String {
    let is_short = |text: &str| text.chars().count() <= SHOWN;
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    if is_short(&text) {
        return text;
    }
    let text = match value {
        Value::Object(fields) => {
            let plain = fields.iter().filter(|(_, value)| !value.is_object() && !value.is_array());
            let plain: Vec<_> = plain.map(|(key, value)| format!("{}:{value}", Value::from(key.as_str()))).collect();
            let nested = if plain.len() < fields.len() { vec!["…".to_owned()] } else { Vec::new() };
            format!("{{{}}}", [plain, nested].concat().join(","))
        }
        _ => text,
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(short(&json!({"result": 1})), r#"{"result":1}"#);
        let cut = short(&json!("é".repeat(2 * SHOWN)));
        assert_eq!(cut.chars().count(), SHOWN + 1);
        assert!(cut.ends_with('…'));
        let order = json!({"items": ["x".repeat(200)], "total": 5, "payment": "p\"1"});
        assert_eq!(short(&order), r#"{"payment":"p\"1","total":5,…}"#);
    }

    #[test]
    fn values_cannot_control_the_terminal() {
        assert!(!table(["a"], [["\u{1b}[2Jx".to_owned()]]).contains('\u{1b}'));
        assert!(!facts([("a", Some("\u{1b}[2Jx".to_owned()))]).contains('\u{1b}'));
    }

    #[test]
    fn durations_have_a_fitting_unit() {
        for (milliseconds, text) in
            [(0, "0 ms"), (999, "999 ms"), (1_250, "1.2 s"), (61_000, "1 min"), (7_200_000, "2 h")]
        {
            assert_eq!(length(TimeDelta::milliseconds(milliseconds)), text);
        }
    }
}
