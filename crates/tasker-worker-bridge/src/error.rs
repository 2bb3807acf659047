//! The errors of the bridge.

use std::fmt;
use std::path::PathBuf;

use tasker_engine::database::DatabaseError;
use tasker_runtime::probe::ProbeError;
use tasker_runtime::settings::SettingsError;
use tasker_runtime::telemetry;
use tasker_worker::StartError;

/// Why a call of the bridge failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options are not what [`Options`](crate::Options) describes.
    #[error("the options of the worker are wrong: {0}")]
    Options(String),
    /// A template file cannot be read.
    #[error("cannot read the task template {path}: {source}")]
    TemplateFile {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A folder of templates has none.
    #[error("{0} has no task templates: files that end with .yaml or .yml")]
    NoTemplates(PathBuf),
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The threads of the worker cannot be started.
    #[error("cannot start the worker's threads: {0}")]
    Threads(std::io::Error),
    /// Traces cannot be sent.
    #[error(transparent)]
    Telemetry(#[from] telemetry::StartError),
    /// The worker cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The worker does not respond, or is not healthy.
    #[error(transparent)]
    Unhealthy(#[from] ProbeError),
    /// The process was forked after the worker had started.
    #[error(
        "this worker was started by process {parent} and cannot be used after a fork, in process {child}; \
         start the worker after the fork, or start several processes instead"
    )]
    Forked {
        /// The process that started the worker.
        parent: u32,
        /// This process.
        child: u32,
    },
}

/// What is wrong with JSON text that the library has written. Nobody sees the text, so its line and column say nothing.
pub(crate) fn without_place(error: &impl fmt::Display) -> String {
    let message = error.to_string();
    message.rsplit_once(" at line ").map_or_else(|| message.clone(), |(problem, _)| problem.to_owned())
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        Self::Start(error.into())
    }
}

impl Error {
    /// The exit code of a program that stops with this error: 4 if the database must be migrated, 5 if it is too new
    /// for this library, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(StartError::Database(error)) => error.exit_code(),
            _ => 1,
        }
    }
}
