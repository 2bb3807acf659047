//! What is wrong with, or odd about, a template: where and why.

use std::fmt;

use serde::Serialize;

/// The most findings of one kind that are listed; the rest is counted.
const MAX_FINDINGS: usize = 100;

/// The longest path and the longest message of a finding.
const MAX_TEXT_CHARS: usize = 500;

/// A place in the source text. Lines and columns (in characters) count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// One problem of a template, an error or a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file as named to [`parse`](super::parse).
    pub file: Option<String>,
    /// Line in the source, from 1.
    pub line: usize,
    /// Column in the line, in characters, from 1.
    pub column: usize,
    /// The field in question, such as `steps[2].retry.backoff`; empty for the file as a whole.
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

/// Why a template was refused: every error found, in the order of the lines. Shown one per line.
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

/// Collects the findings of one file.
pub(super) struct Report<'a> {
    file: Option<&'a str>,
    errors: Findings,
    warnings: Findings,
}

/// The findings of one kind; those past [`MAX_FINDINGS`] are only counted.
#[derive(Default)]
struct Findings {
    listed: Vec<Finding>,
    unlisted: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: Option<&'a str>) -> Self {
        Self { file, errors: Findings::default(), warnings: Findings::default() }
    }

    pub(super) fn error(&mut self, at: Position, path: &str, message: impl AsRef<str>) {
        self.errors.add(self.file, at, path, message.as_ref());
    }

    pub(super) fn warn(&mut self, at: Position, path: &str, message: impl AsRef<str>) {
        self.warnings.add(self.file, at, path, message.as_ref());
    }

    /// Whether further errors will not be listed, so that a costly message is not worth making.
    pub(super) fn is_full(&self) -> bool {
        self.errors.unlisted > 0
    }

    /// The value and the warnings where there is no error, else the errors.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Finding>), TemplateErrors> {
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

    /// In the order of the lines.
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

/// Texts of the template are repeated in findings, however long they are and whatever they would do to a terminal.
fn shown(text: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = text.chars().take(MAX_TEXT_CHARS).map(printable).collect();
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
