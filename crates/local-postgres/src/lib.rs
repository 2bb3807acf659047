//! A private PostgreSQL server for laptops and tests.
//!
//! [`LocalPostgres::start`] finds PostgreSQL on the machine (or downloads it), makes a data folder, starts a server on
//! a free port of 127.0.0.1 and returns when it accepts connections. A server lives as long as its value:
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
//! **Nothing stays behind.** The server is stopped, and a throw-away folder removed, whatever way the program ends:
//! by [`stop`](LocalPostgres::stop), by dropping the value, by a panic, by a signal, even by SIGKILL. A small shell
//! process beside the server notices that the program is gone and tidies up. Ctrl-C in the terminal does not reach
//! the server, so that a program can end its own work first.
//!
//! **Nobody else gets in.** The server listens on 127.0.0.1 only, and wants a password that is made at run time.
//!
//! **Root may use it.** PostgreSQL refuses to run as root, so the server then runs as `postgres`, or as `nobody` where
//! there is no such user, or as the owner of a kept folder that is not root's.
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

/// What server to start. The default is a throw-away server with PostgreSQL's own settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder that keeps the data, the password and the server's log from one start to the next; made if missing.
    /// `None` for a throw-away folder, removed when the server ends.
    pub data_dir: Option<PathBuf>,
    /// Server settings, name and value, as in `postgresql.conf`. None by default, which means full durability: the
    /// demo and the fault tests are there to show what a real server does. Tests that only want speed set `fsync` to
    /// `off`: data then survives a kill of the server, and is lost only if the whole machine stops.
    pub settings: Vec<(String, String)>,
}

/// How to stop a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Break off open transactions, write a checkpoint, stop.
    Fast,
    /// Stop at once, as in a crash: the next start has to recover from the log. Loses nothing that was committed.
    Immediate,
}

/// A running private server. Dropping it stops the server, waiting for that (about 0.1 s).
#[derive(Debug)]
pub struct LocalPostgres {
    // The order matters: the server must be gone before its folder is.
    running: Option<Running>,
    server: Server,
    folder: Folder,
}

impl LocalPostgres {
    /// Starts a server and returns when it accepts connections.
    ///
    /// The programs are taken from `TASKER_PG_BIN` (a folder) if that is set; else from `PATH`, the usual folders of
    /// Debian, Fedora and Homebrew, or an earlier download; else they are downloaded into the user's cache folder.
    /// A kept folder is only ever opened by the major version that made it.
    ///
    /// As root, a `data_dir` that the server's user cannot reach, such as one below `/root`, is placed below
    /// `/var/lib/tasker/postgresql` instead; [`data_dir`](Self::data_dir) tells.
    ///
    /// # Errors
    ///
    /// No usable PostgreSQL; the folder is in use by another server or cannot be written; the server did not come up
    /// within 30 seconds. Each says what to do, and carries the end of the server's log where there is one.
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

    /// Connection URL of the database `postgres`, password included.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// Connection URL of a database of this server, password included. The database need not exist yet; its name goes
    /// into the URL as it is.
    pub fn database_url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.folder.password(), self.port())
    }

    /// The TCP port on 127.0.0.1. It stays the same while this value lives.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Process id of the server; `None` while it is [interrupted](Self::interrupt) or after it died.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The folder of PostgreSQL's programs, `initdb` and `postgres` among them.
    pub fn bin_dir(&self) -> &Path {
        self.server.bin_dir()
    }

    /// The private folder: `cluster` (PostgreSQL's own data folder) and `server.log`; `password` if it is a kept one.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server, and removes a throw-away folder.
    ///
    /// # Errors
    ///
    /// The server would not stop, or the folder could not be removed.
    pub async fn stop(mut self, mode: StopMode) -> Result<(), Error> {
        blocking(move || {
            if let Some(running) = self.running.take() {
                running.stop(mode, self.folder.is_throw_away())?;
            }
            self.folder.close()
        })
        .await
    }

    /// Stops the server but keeps folder and port, for tests of an outage. [`resume`](Self::resume) ends it.
    ///
    /// # Errors
    ///
    /// The server would not stop.
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
    /// As [`start`](Self::start); also if another program took the port meanwhile.
    pub async fn resume(&mut self) -> Result<(), Error> {
        if self.pid().is_some() {
            return Ok(());
        }
        let (dead, server) = (self.running.take(), self.server.clone());
        let resumed = blocking(move || {
            // The guard of a server that died may not have noticed yet; dropping waits for it.
            drop(dead);
            server.resume()
        });
        self.running = Some(resumed.await?);
        Ok(())
    }
}

/// Runs what waits for processes and files outside the async threads. It runs to its end even if nobody waits for it
/// any more, and what it made is then dropped, which stops the server.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::ShuttingDown),
        },
    }
}
