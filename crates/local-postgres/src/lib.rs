//! A private PostgreSQL server for laptops and tests.
//!
//! [`LocalPostgres::start`] finds PostgreSQL on the machine (or downloads it), creates a data folder, starts a server
//! on a free port of 127.0.0.1, and returns once it accepts connections. A server runs as long as its value exists:
//!
//! ```no_run
//! # async fn example() -> Result<(), local_postgres::Error> {
//! use local_postgres::{LocalPostgres, Options, StopMode};
//!
//! let server = LocalPostgres::start(Options::default()).await?;
//! println!("psql {}", server.url());
//! server.stop(StopMode::Fast).await?;
//! # Ok(())
//! # }
//! ```
//!
//! **It leaves nothing behind.** The server is stopped and a temporary folder removed however the program ends: by
//! [`stop`](LocalPostgres::stop), by dropping the value, by a panic, by a signal, even by SIGKILL. A small shell
//! process next to the server notices when the program is gone, and cleans up. Ctrl-C in the terminal does not reach
//! the server, so that a program can finish its own work first.
//!
//! **It is private.** The server listens on 127.0.0.1 only, and requires a random password.
//!
//! **Root may use it.** PostgreSQL refuses to run as root, so the server runs as the owner of an existing data
//! folder, as `postgres`, or as `nobody`.
//!
//! Unix only. PostgreSQL 14 to 18.

mod binaries;
mod download;
mod error;
mod folder;
mod guard;
mod postmaster;
mod server;
mod user;

use std::path::{Path, PathBuf};

pub use error::Error;

use binaries::Binaries;
use folder::Folder;
use server::{Running, Server};
use user::User;

/// The superuser of every server that this crate starts.
const SUPERUSER: &str = "tasker";

/// Options of a server. The default is a temporary server with PostgreSQL's own settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder that keeps the data, the password and the server's log between starts. It is created if it does not
    /// exist. `None` for a temporary folder, which is removed when the server stops.
    pub data_dir: Option<PathBuf>,
    /// Server settings, name and value, as in `postgresql.conf`. Without any, the server is fully durable. Tests that
    /// need speed set `fsync` to `off`: data then survives a crash of the server, but not of the machine.
    pub settings: Vec<(String, String)>,
}

/// How to stop a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Abort open transactions, write a checkpoint, and stop.
    Fast,
    /// Stop immediately, as in a crash. The next start recovers from the log. Nothing that was committed is lost.
    Immediate,
}

/// A running private server. Dropping it stops the server and waits for its end (about 0.1 s).
#[derive(Debug)]
pub struct LocalPostgres {
    // Dropped in this order: the server must stop before its folder is removed.
    running: Option<Running>,
    server: Server,
    folder: Folder,
}

impl LocalPostgres {
    /// Starts a server. Returns once it accepts connections.
    ///
    /// The programs come from the folder `TASKER_PG_BIN` if it is set; otherwise from `PATH`, the usual folders of
    /// Debian, Fedora and Homebrew, or an earlier download. If there are none, they are downloaded into the user's
    /// cache folder. An existing data folder is only opened by the major version that created it.
    ///
    /// If the program runs as root and the server's user cannot enter `data_dir`, such as one below `/root`, the data
    /// is kept below `/var/lib/tasker/postgresql` instead: see [`data_dir`](Self::data_dir).
    ///
    /// # Errors
    ///
    /// If there is no usable PostgreSQL, the folder is in use or cannot be written, or the server does not start
    /// within 30 seconds. Each error says what to do, with the end of the server's log if there is one.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let Options { data_dir, settings } = options;
        let (user, kept) = blocking(move || {
            let user = User::for_server(data_dir.as_deref())?;
            let kept = data_dir.map(|path| Folder::kept(path, user));
            Ok((user, kept.transpose()?))
        })
        .await?;
        let made_by = kept.as_ref().map(Folder::made_by).transpose()?.flatten();
        let binaries = Binaries::find_or_download(made_by, user).await?;
        blocking(move || {
            let folder = match kept {
                Some(folder) => folder,
                None => Folder::throw_away(user)?,
            };
            let fsync_off = |(name, value): &(String, String)| name == "fsync" && value == "off";
            let sync = !folder.is_throw_away() && !settings.iter().any(fsync_off);
            folder.initialise(&binaries, sync)?;
            let (server, running) = Server::start(binaries, &folder, settings)?;
            Ok(Self { running: Some(running), server, folder })
        })
        .await
    }

    /// Starts a hot standby: a copy that follows this server by streaming replication. It can be read, and
    /// `select pg_promote()` makes it a server that can be written. It has the same settings and password, and a port
    /// of its own. `data_dir` is as in [`Options`], but must not exist yet or be empty.
    ///
    /// # Errors
    ///
    /// Like [`start`](Self::start), and if the folder cannot be copied.
    pub async fn standby(&self, data_dir: Option<PathBuf>) -> Result<Self, Error> {
        let (server, user, password) = (self.server.clone(), self.folder.user(), self.folder.password().to_owned());
        blocking(move || {
            let folder = match data_dir {
                Some(path) => Folder::kept(path, user),
                None => Folder::throw_away(user),
            };
            let folder = folder?.with_password(&password);
            let (server, running) = server.start_copy(&folder)?;
            Ok(Self { running: Some(running), server, folder })
        })
        .await
    }

    /// The connection URL of the database `postgres`, with the password.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// The connection URL of a database of this server, with the password. The database need not exist yet. Its name
    /// is not escaped.
    pub fn database_url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.folder.password(), self.port())
    }

    /// The TCP port on 127.0.0.1. It does not change while this value exists.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The process id of the server; `None` while it is [interrupted](Self::interrupt), or if it has died.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The folder of PostgreSQL's programs, such as `initdb` and `postgres`.
    pub fn bin_dir(&self) -> &Path {
        self.server.bin_dir()
    }

    /// The private folder. It contains `cluster` (PostgreSQL's own data folder) and `server.log`, and if it is kept,
    /// `password`.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server, and removes a temporary folder.
    ///
    /// # Errors
    ///
    /// If the server does not stop, or the folder cannot be removed.
    pub async fn stop(mut self, mode: StopMode) -> Result<(), Error> {
        blocking(move || {
            if let Some(running) = self.running.take() {
                running.stop(mode, self.folder.is_throw_away())?;
            }
            self.folder.close()
        })
        .await
    }

    /// Stops the server, but keeps its folder and port, for tests of outages. [`resume`](Self::resume) starts it again.
    ///
    /// # Errors
    ///
    /// If the server does not stop.
    pub async fn interrupt(&mut self, mode: StopMode) -> Result<(), Error> {
        match self.running.take() {
            Some(running) => blocking(move || running.stop(mode, false)).await,
            None => Ok(()),
        }
    }

    /// Starts the server again on the same folder and port, if it was [interrupted](Self::interrupt) or died.
    ///
    /// # Errors
    ///
    /// Like [`start`](Self::start), and if another program has taken the port.
    pub async fn resume(&mut self) -> Result<(), Error> {
        if self.pid().is_some() {
            return Ok(());
        }
        let (dead, server) = (self.running.take(), self.server.clone());
        let resumed = blocking(move || {
            // The guard may not have noticed yet that the server died. Dropping waits for it.
            drop(dead);
            server.resume()
        });
        self.running = Some(resumed.await?);
        Ok(())
    }
}

/// Runs blocking work outside the async threads. It runs to its end even if the caller is cancelled; its result is then
/// dropped, which stops the server.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::ShuttingDown),
        },
    }
}
