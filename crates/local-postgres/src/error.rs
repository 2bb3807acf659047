//! Errors. Their messages say what failed, where, and what to do.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Why a server could not be started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL programs were found, and they could not be downloaded.
    #[error(
        "no usable PostgreSQL: initdb and postgres of version {} are needed\n{}\n\
         Install PostgreSQL (Debian, Ubuntu: postgresql; Fedora: postgresql-server; Homebrew: postgresql@18), \
         or set TASKER_PG_BIN to the folder of its programs, or set DATABASE_URL to your own server.",
        majors_text(.majors), looked_text(.looked)
    )]
    NoPostgres {
        /// The usable major versions. Only one if the data folder was created by it.
        majors: RangeInclusive<u32>,
        /// The places that were searched, and why none of them is usable.
        looked: Vec<String>,
    },
    /// `TASKER_PG_BIN` is set, but not to a folder of usable programs.
    #[error("TASKER_PG_BIN={}: {reason}. Set it to the folder of initdb and postgres, or unset it", .folder.display())]
    BadBinFolder {
        /// The value of `TASKER_PG_BIN`.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another server uses the data folder, or is starting on it.
    #[error("the data folder {} is in use by {}; stop it first", .folder.display(), holder(.pid))]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// The process id of the other server, if it is known.
        pid: Option<u32>,
    },
    /// The data folder contains something that this crate did not create.
    #[error(
        "cannot keep PostgreSQL's data in {}: {reason}. Choose another folder, or move this one away",
        .folder.display()
    )]
    Unusable {
        /// The data folder.
        folder: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The program runs as root, and there is no other user to run the server as, or no folder that this user may
    /// write to.
    #[error("PostgreSQL does not run as root: {0}. Run this as an ordinary user, or set DATABASE_URL")]
    Root(String),
    /// The program that creates a data folder failed.
    #[error("cannot create a PostgreSQL data folder in {}: {program} {status}\n{output}", .folder.display())]
    Create {
        /// The folder.
        folder: PathBuf,
        /// The program: initdb or pg_basebackup.
        program: &'static str,
        /// The exit status of the program.
        status: String,
        /// The last lines of its output.
        output: String,
    },
    /// The server did not start.
    #[error("PostgreSQL did not start: {reason}. The end of {}:\n{tail}", .log.display())]
    Start {
        /// The reason.
        reason: String,
        /// The server's log file. Already removed if the folder was a temporary one.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The server did not stop.
    #[error("PostgreSQL did not stop within {seconds} s; see {}", .log.display())]
    Stop {
        /// How long the program waited.
        seconds: u64,
        /// The server's log file.
        log: PathBuf,
    },
    /// A file, folder or process could not be handled.
    #[error("cannot {what}: {source}")]
    Io {
        /// The action, with the path.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// The async runtime is shutting down.
    #[error("the async runtime is shutting down")]
    ShuttingDown,
}

/// For `map_err`: adds the action to an error.
pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// The text after "version".
pub(crate) fn majors_text(majors: &RangeInclusive<u32>) -> String {
    if majors.start() == majors.end() {
        format!("{}, which created the data folder,", majors.start())
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
