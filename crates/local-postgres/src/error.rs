//! What can go wrong, in words that say where and what to do.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL programs were found, and they could not be downloaded.
    #[error(
        "no usable PostgreSQL: need initdb and postgres of version {}\n{}\n\
         Install PostgreSQL (Debian, Ubuntu: postgresql; Fedora: postgresql-server; Homebrew: postgresql@18), \
         or set TASKER_PG_BIN to the folder of its programs, or set DATABASE_URL to a server of yours.",
        majors_text(.majors), looked_text(.looked)
    )]
    NoPostgres {
        /// Major versions that would do. Only one if a data folder was made by it.
        majors: RangeInclusive<u32>,
        /// Where was looked, and why nothing there would do.
        looked: Vec<String>,
    },
    /// `TASKER_PG_BIN` is set, but does not name a folder of usable programs.
    #[error("TASKER_PG_BIN={}: {reason}. Set it to the folder of initdb and postgres, or unset it", .folder.display())]
    BadBinFolder {
        /// The value of `TASKER_PG_BIN`.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another server runs on the data folder, or is about to.
    #[error("the data folder {} is in use by {}; stop that one first", .folder.display(), holder(.pid))]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// Process id of the other server, if it is known.
        pid: Option<u32>,
    },
    /// The data folder holds something that this crate did not leave there.
    #[error("cannot keep PostgreSQL's data in {}: {reason}. Name another folder, or move this one away", .folder.display())]
    Unusable {
        /// The data folder.
        folder: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The server runs as another user than root, and there is none to run it as, or no place that he may write to.
    #[error("PostgreSQL does not run as root: {0}. Run this as an ordinary user, or set DATABASE_URL")]
    Root(String),
    /// initdb failed.
    #[error("cannot make a PostgreSQL data folder in {}: initdb {status}\n{output}", .folder.display())]
    Initdb {
        /// The folder it was to be made in.
        folder: PathBuf,
        /// How initdb ended.
        status: String,
        /// The last lines that it wrote.
        output: String,
    },
    /// The server did not come up.
    #[error("PostgreSQL did not start: {reason}. The end of {}:\n{tail}", .log.display())]
    Start {
        /// What happened instead.
        reason: String,
        /// The server's log file. Gone with the folder if that was a throw-away one.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The server did not stop.
    #[error("PostgreSQL did not stop within {seconds} s; see {}", .log.display())]
    Stop {
        /// How long was waited.
        seconds: u64,
        /// The server's log file.
        log: PathBuf,
    },
    /// A file, folder or process could not be handled.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The async runtime is ending.
    #[error("the async runtime is shutting down")]
    ShuttingDown,
}

/// For `map_err`: says what was tried.
pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// For "version ...".
pub(crate) fn majors_text(majors: &RangeInclusive<u32>) -> String {
    if majors.start() == majors.end() {
        format!("{}, which made the data folder", majors.start())
    } else {
        format!("{} to {}", majors.start(), majors.end())
    }
}

fn looked_text(looked: &[String]) -> String {
    looked.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn holder(pid: &Option<u32>) -> String {
    match pid {
        Some(pid) => format!("the PostgreSQL server with process id {pid}"),
        None => "another program that is starting a server on it".into(),
    }
}
