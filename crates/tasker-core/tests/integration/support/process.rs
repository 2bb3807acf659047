//! The project's binaries as processes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::DEADLINE;

/// The program of the sample worker.
pub(crate) const WORKER: &str = "rust-worker";

/// The path of one of the project's binaries: in `TASKER_BIN_DIR`, otherwise next to the tests. `TASKER_TEST_WORKER`
/// names another sample worker, in another language.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let other = std::env::var_os("TASKER_TEST_WORKER").filter(|path| !path.is_empty());
    if let Some(path) = other.filter(|_| name == WORKER) {
        return Ok(path.into());
    }
    let folder = match std::env::var_os("TASKER_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        // target/debug/deps/integration-0123 -> target/debug
        None => std::env::current_exe()?.ancestors().nth(2).context("no folder of binaries")?.to_owned(),
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} is missing: run the tests of the whole workspace, or `cargo build --workspace --bins` first",
            path.display()
        );
    }
    Ok(path)
}

/// Sends a signal, given by name or number, to a process.
pub(crate) fn send_signal(pid: u32, signal: &str) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status()?;
    anyhow::ensure!(status.success(), "kill -{signal} {pid} failed");
    Ok(())
}

/// A running binary. Dropping it kills it, and prints its log if the test has failed.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    address: String,
}

impl Process {
    /// Starts a service on a free port, with variables of the environment. Returns once it listens.
    pub(crate) fn start(
        name: &'static str,
        settings: &Path,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Self> {
        let mut child = Command::new(binary(name)?)
            .args(["--port", "0"])
            .args(arguments)
            .env("TASKER_CONFIG_PATH", settings)
            .env_remove("DATABASE_URL")
            .env_remove("RUST_LOG")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stderr = child.stderr.take().context("no standard error")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (listens, listening) = mpsc::channel();
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let address = serde_json::from_str::<serde_json::Value>(&line)
                    .ok()
                    .and_then(|event| Some(event.get("address")?.as_str()?.to_owned()));
                if let Some(address) = address {
                    // Only the first one is received.
                    let _ = listens.send(address);
                }
                lines.lock().unwrap().push(line);
            }
        });
        let mut process = Self { name, child, log, address: String::new() };
        process.address = match listening.recv_timeout(DEADLINE) {
            Ok(address) => address,
            Err(RecvTimeoutError::Timeout) => bail!("{name} did not listen in time:\n{}", process.log()),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("{name} exited ({}):\n{}", process.child.wait()?, process.log())
            }
        };
        Ok(process)
    }

    /// The address of its API.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        send_signal(self.child.id(), signal)
    }

    /// Stops it with SIGTERM and waits until it has exited.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            anyhow::ensure!(begun.elapsed() < DEADLINE, "{} did not exit in time:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.name, self.log());
        }
    }
}
