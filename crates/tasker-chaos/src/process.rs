//! The project's binaries as processes.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::ledger::Ledger;

const START_LIMIT: Duration = Duration::from_secs(30);
/// How long an ordered end may take: far more than the settings give it.
const END_LIMIT: Duration = Duration::from_secs(30);
/// Lines of a log that are kept to be shown.
const KEPT_LINES: usize = 30;

/// The path of one of the project's binaries: in `TASKER_BIN_DIR`, else beside this program.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let path = match std::env::var_os("TASKER_BIN_DIR") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => {
            let here = std::env::current_exe()?;
            // A test is one folder deeper.
            here.ancestors()
                .skip(1)
                .take(2)
                .map(|folder| folder.join(name))
                .find(|path| path.is_file())
                .unwrap_or_else(|| here.with_file_name(name))
        }
    };
    ensure!(path.is_file(), "{} is missing: `cargo build --workspace --bins` makes it", path.display());
    Ok(path)
}

/// A running binary. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    address: String,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts a service on a free port; returns when it listens.
    pub(crate) async fn start(
        name: &'static str,
        arguments: &[&str],
        settings: &Path,
        variables: &[(&'static str, OsString)],
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let mut child = Command::new(binary(name)?)
            .args(["--port", "0"])
            .args(arguments)
            .env("TASKER_CONFIG_PATH", settings)
            .env_remove("DATABASE_URL")
            .env_remove("RUST_LOG")
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut lines = BufReader::new(child.stderr.take().context("no standard error")?).lines();
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (listens, listening) = oneshot::channel();
        tokio::spawn({
            let (log, ledger) = (Arc::clone(&log), Arc::clone(ledger));
            async move {
                let mut listens = Some(listens);
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some(address) = address(&line)
                        && let Some(listens) = listens.take()
                    {
                        // Who waits may have given up.
                        let _ = listens.send(address);
                    }
                    ledger.logged(name, &line);
                    let mut log = lock(&log);
                    log.push_back(line);
                    if log.len() > KEPT_LINES {
                        log.pop_front();
                    }
                }
            }
        });
        let mut process = Self { name, child, address: String::new(), log };
        match timeout(START_LIMIT, listening).await {
            Ok(Ok(address)) => process.address = address,
            Ok(Err(_)) => bail!("{name} has ended ({}):\n{}", process.child.wait().await?, process.log()),
            Err(_) => bail!("{name} does not listen:\n{}", process.log()),
        }
        Ok(process)
    }

    /// The address of its API.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its last lines.
    pub(crate) fn log(&self) -> String {
        lock(&self.log).iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().with_context(|| format!("{} has ended", self.name))?;
        send(i32::try_from(pid)?, signal)
    }

    /// Ends it as `kill -9` does.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        match timeout(END_LIMIT, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} does not end:\n{}", self.name, self.log()),
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn send(pid: i32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to process {pid}"))
}

/// The address in the line of a log that says where a service listens.
fn address(line: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(event.get("address")?.as_str()?.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
