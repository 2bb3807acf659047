//! Starts and stops the server process on an initialised folder.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::StopMode;
use crate::binaries::Binaries;
use crate::error::{Error, io_error};
use crate::folder::Folder;
use crate::guard::{Guarded, Signal};
use crate::postmaster::{Holder, Postmaster};
use crate::user::User;

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// How many ports to try before giving up.
const PORT_TRIES: usize = 20;

/// Everything that is needed to start the server, also repeatedly.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    binaries: Binaries,
    user: Option<User>,
    cluster: PathBuf,
    log: PathBuf,
    /// The folder to remove when this program ends.
    remove: Option<PathBuf>,
    settings: Vec<(String, String)>,
    port: u16,
}

/// Why one attempt failed.
enum Failure {
    PortTaken,
    /// Processes of a killed server still use its shared memory. They exit soon.
    Orphans(Error),
    Other(Error),
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) fn start(
        binaries: Binaries,
        folder: &Folder,
        settings: Vec<(String, String)>,
    ) -> Result<(Self, Running), Error> {
        let mut server = Self {
            binaries,
            user: folder.user(),
            cluster: folder.cluster(),
            log: folder.log(),
            remove: folder.is_throw_away().then(|| folder.path().to_owned()),
            settings,
            port: 0,
        };
        for _ in 0..PORT_TRIES {
            server.port = free_port()?;
            match server.launch() {
                Ok(running) => return Ok((server, running)),
                Err(Failure::PortTaken) => {}
                Err(Failure::Orphans(error) | Failure::Other(error)) => return Err(error),
            }
        }
        Err(server.failed("other programs took every port that was tried".into(), 0))
    }

    /// Starts the server again on the same port.
    pub(crate) fn resume(&self) -> Result<Running, Error> {
        self.launch().map_err(|failure| match failure {
            Failure::PortTaken => self.failed(format!("another program has taken port {}", self.port), 0),
            Failure::Orphans(error) | Failure::Other(error) => error,
        })
    }

    /// Starts a copy of this server on another folder and a free port.
    pub(crate) fn start_copy(&self, folder: &Folder) -> Result<(Self, Running), Error> {
        folder.copy(&self.binaries, self.port)?;
        Self::start(self.binaries.clone(), folder, self.settings.clone())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn bin_dir(&self) -> &Path {
        self.binaries.dir()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        Postmaster::read(&self.cluster).filter(|server| server.holder() == Holder::Server).map(|server| server.pid)
    }

    /// Returns once the server is ready.
    fn launch(&self) -> Result<Running, Failure> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match self.attempt(deadline) {
                Err(Failure::Orphans(_)) if Instant::now() < deadline => thread::sleep(POLL),
                result => return result,
            }
        }
    }

    fn attempt(&self, deadline: Instant) -> Result<Running, Failure> {
        // The file of an earlier, killed server also says "ready".
        let earlier = Postmaster::read(&self.cluster);
        let (mut guarded, log_start) = self.spawn().map_err(Failure::Other)?;
        loop {
            let ended = guarded.ended().map_err(io_error("watch the server process")).map_err(Failure::Other)?;
            if let Some(status) = ended {
                let log = log_since(&self.log, log_start);
                let error = self.failed(format!("it exited with {status}"), log_start);
                return Err(match () {
                    () if log.contains("Address already in use") => Failure::PortTaken,
                    () if log.contains("pre-existing shared memory block") => Failure::Orphans(error),
                    () => Failure::Other(error),
                });
            }
            let now = Postmaster::read(&self.cluster);
            if now.is_some_and(|now| now.ready && !earlier.as_ref().is_some_and(|earlier| earlier.is(&now))) {
                return Ok(Running { guarded, log: self.log.clone() });
            }
            if Instant::now() > deadline {
                let seconds = START_LIMIT.as_secs();
                return Err(Failure::Other(self.failed(format!("not ready within {seconds} s"), log_start)));
            }
            thread::sleep(POLL);
        }
    }

    /// Starts the process. Also returns where its output starts in the log.
    fn spawn(&self) -> Result<(Guarded, u64), Error> {
        let log_start = fs::metadata(&self.log).map_or(0, |log| log.len());
        let mut arguments = vec!["-D".into(), self.cluster.display().to_string(), "-p".into(), self.port.to_string()];
        // No socket file: a path of more than 107 bytes is refused, and all users use the URL.
        let ours = [("listen_addresses", "127.0.0.1"), ("unix_socket_directories", "")];
        let theirs = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in theirs.chain(ours) {
            arguments.extend(["-c".into(), format!("{name}={value}")]);
        }
        let postgres = self.binaries.dir().join("postgres");
        let guarded = Guarded::spawn(&postgres, &arguments, self.user, &self.log, self.remove.as_deref())
            .map_err(io_error(format!("run {}", postgres.display())))?;
        Ok((guarded, log_start))
    }

    fn failed(&self, reason: String, log_start: u64) -> Error {
        Error::Start { reason, log: self.log.clone(), tail: tail(&self.log, log_start) }
    }
}

/// A server that is ready. Dropping it stops the server.
#[derive(Debug)]
pub(crate) struct Running {
    guarded: Guarded,
    log: PathBuf,
}

impl Running {
    /// Stops the server. With `release`, the guard also removes the temporary folder. It waits less long, because
    /// nobody needs the checkpoint.
    pub(crate) fn stop(mut self, mode: StopMode, release: bool) -> Result<(), Error> {
        self.guarded.signal(match mode {
            StopMode::Fast => Signal::Int,
            StopMode::Immediate => Signal::Quit,
        });
        let stopped = match release {
            true => self.guarded.release(),
            false => self.guarded.wait(STOP_LIMIT).map(|status| status.is_some()),
        };
        match stopped.map_err(io_error("watch the server process"))? {
            true => Ok(()),
            false => Err(Error::Stop { seconds: STOP_LIMIT.as_secs(), log: self.log.clone() }),
        }
    }
}

/// A port that is free now. It is below the range of outgoing connections (from 32768, on macOS from 49152), so that
/// none of them takes the port while the server is stopped.
fn free_port() -> Result<u16, Error> {
    let mut result = Ok(0);
    for _ in 0..PORT_TRIES {
        let random = RandomState::new().hash_one(0);
        let port = 20_000 + (random % 10_000) as u16;
        result = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|_| port);
        if result.is_ok() {
            break;
        }
    }
    result.map_err(io_error("find a free port on 127.0.0.1"))
}

/// The last lines of a log after a position.
pub(crate) fn tail(log: &Path, from: u64) -> String {
    const LINES: usize = 20;
    let text = log_since(log, from);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

fn log_since(log: &Path, from: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}
