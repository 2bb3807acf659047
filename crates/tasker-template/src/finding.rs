//! Findings: the errors and warnings about a template, with their places.

use std::fmt;

use serde::Serialize;

/// The largest number of errors, and of warnings, in a list. The rest are only counted.
const MAX_FINDINGS: usize = 100;

/// The longest path and the longest message of a finding, in characters. The rest is cut off.
const MAX_TEXT_CHARS: usize = 500;

/// A place in the source text. Lines and columns start at 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// An error or a warning about a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the file that [`parse`](crate::parse) received.
    pub file: Option<String>,
    /// The line in the source, from 1.
    pub line: usize,
    /// The column in the line, in characters, from 1.
    pub column: usize,
    /// The path of the field, such as `steps[2].retry.backoff`; empty for the whole file.
    pub path: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, path, message } = self;
        match file {
            Some(file) => write!(f, "{file}:{line}:{column}: ")?,
            None => write!(f, "line {line}, column {column}: ")?,
        }
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)
    }
}

/// The errors of a template in the order of the lines. Displayed with one error on each line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TemplateErrors(pub Vec<Finding>);

impl fmt::Display for TemplateErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TemplateErrors {}

/// Collects the findings about one file.
pub(crate) struct Report<'a> {
    file: Option<&'a str>,
    errors: Findings,
    warnings: Findings,
}

/// The errors or the warnings. Beyond [`MAX_FINDINGS`] they are only counted.
#[derive(Default)]
struct Findings {
    listed: Vec<Finding>,
    unlisted: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn new(file: Option<&'a str>) -> Self {
        Self { file, errors: Findings::default(), warnings: Findings::default() }
    }

    pub(crate) fn error(&mut self, at: Position, path: &str, message: impl AsRef<str>) {
        self.errors.add(self.file, at, path, message.as_ref());
    }

    pub(crate) fn warn(&mut self, at: Position, path: &str, message: impl AsRef<str>) {
        self.warnings.add(self.file, at, path, message.as_ref());
    }

    /// Whether further errors are only counted. Then a costly message is not worth building.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.unlisted > 0
    }

    /// Returns the value and the warnings if there is no error, otherwise the errors.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Finding>), TemplateErrors> {
        match value {
            Some(value) if self.errors.listed.is_empty() => Ok((value, self.warnings.sorted())),
            _ => Err(TemplateErrors(self.errors.sorted())),
        }
    }
}

impl Findings {
    fn add(&mut self, file: Option<&str>, at: Position, path: &str, message: &str) {
        if self.listed.len() == MAX_FINDINGS {
            self.unlisted += 1;
            return;
        }
        self.listed.push(Finding {
            file: file.map(str::to_owned),
            line: at.line,
            column: at.column,
            path: shown(path),
            message: shown(message),
        });
    }

    /// Returns the findings in the order of the lines.
    fn sorted(mut self) -> Vec<Finding> {
        self.listed.sort_by_key(|finding| (finding.line, finding.column));
        if let Some(last) = self.listed.last_mut()
            && self.unlisted > 0
        {
            last.message.push_str(&format!(" (and {} more, not listed)", self.unlisted));
        }
        self.listed
    }
}

/// Shortens a text and replaces its control characters: findings quote the template, and terminals show findings.
fn shown(text: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = text.chars().take(MAX_TEXT_CHARS).map(printable).collect();
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
