//! The project's binaries as processes.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::group::ProcessGroup;
use crate::ledger::Ledger;

const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a graceful shutdown may take: far longer than the settings allow.
const END_LIMIT: Duration = Duration::from_secs(30);
/// How many of the last log lines are kept for messages.
const KEPT_LINES: usize = 30;

/// The path of one of the project's binaries: in `TASKER_BIN_DIR`, otherwise next to this program.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let path = match std::env::var_os("TASKER_BIN_DIR") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => {
            let here = std::env::current_exe()?;
            // Test programs are one folder deeper.
            here.ancestors()
                .skip(1)
                .take(2)
                .map(|folder| folder.join(name))
                .find(|path| path.is_file())
                .unwrap_or_else(|| here.with_file_name(name))
        }
    };
    ensure!(path.is_file(), "{} is missing; `cargo build --workspace --bins` builds it", path.display());
    Ok(path)
}

/// A running binary. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    end_limit: Duration,
    address: String,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts a service on a free port, in a process group. Returns once it listens.
    pub(crate) async fn start(
        name: &'static str,
        arguments: &[&str],
        settings: &Path,
        variables: &[(&'static str, OsString)],
        group: &ProcessGroup,
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
            .process_group(group.id())
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
                        // The receiver is gone after a timeout.
                        let _ = listens.send(address);
                    }
                    ledger.logged(name, &line);
                    let mut log = log.lock();
                    log.push_back(line);
                    if log.len() > KEPT_LINES {
                        log.pop_front();
                    }
                }
            }
        });
        let mut process = Self { name, child, end_limit: ledger.limit(END_LIMIT), address: String::new(), log };
        let start_limit = ledger.limit(START_LIMIT);
        match timeout(start_limit, listening).await {
            Ok(Ok(address)) => process.address = address,
            Ok(Err(_)) => bail!("{name} exited ({}):\n{}", process.child.wait().await?, process.log()),
            Err(_) => bail!("{name} did not listen within {start_limit:?}:\n{}", process.log()),
        }
        Ok(process)
    }

    /// The address of its API.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        self.log.lock().iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Its exit status if it has exited.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().with_context(|| format!("{} has exited", self.name))?;
        send(i32::try_from(pid)?, signal)
    }

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops it with SIGTERM and waits until it has exited.
    pub(crate) async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        match timeout(self.end_limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} did not exit within {:?}:\n{}", self.name, self.end_limit, self.log()),
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn send(pid: i32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to process {pid}"))
}

/// The address in the log line in which a service announces where it listens.
fn address(line: &str) -> Option<String> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(event.get("address")?.as_str()?.to_owned())
}
