//! Errors of the settings.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why settings are not valid: what is wrong, where, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file or folder cannot be read.
    #[error("cannot read the settings {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A file is not TOML, names an unknown setting, or gives one a value of another type.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line in the file, from 1.
        line: usize,
        /// Column in the line, in characters, from 1.
        column: usize,
        /// What is wrong. For an unknown setting it lists the known ones.
        message: String,
    },
    /// There is no base file of this name.
    #[error("there is no context '{given}' in {}; the contexts are {}", folder.display(), known.join(", "))]
    UnknownContext {
        /// The name that was given.
        given: String,
        /// The folder of the base files.
        folder: PathBuf,
        /// The names that exist.
        known: Vec<String>,
    },
    /// There is no folder of overlays of this name.
    #[error("there is no environment '{given}' in {}; the environments are {}", folder.display(), known.join(", "))]
    UnknownEnvironment {
        /// The name that was given.
        given: String,
        /// The folder of the environments.
        folder: PathBuf,
        /// The names that exist.
        known: Vec<String>,
    },
    /// Values are out of range.
    #[error("the settings of {origin} are not valid: {}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid {
        /// Where the settings came from.
        origin: String,
        /// Every value that is not allowed.
        problems: Vec<SettingProblem>,
    },
}

/// A setting whose value is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// The setting, such as `worker.max_concurrent`.
    pub key: &'static str,
    /// Its value, without passwords.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}, but must be {}", self.key, self.value, self.allowed)
    }
}
