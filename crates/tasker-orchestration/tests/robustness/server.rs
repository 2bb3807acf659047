//! The real `tasker-server` as a process, with a database of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_postgres::LocalPostgres;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::http::{Answer, database, send};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// The key of the server, if its settings contain [`KEY_SETTINGS`].
pub(crate) const KEY: (&str, &str) = ("x-api-key", "a-key-for-the-tests-of-robustness");
pub(crate) const KEY_SETTINGS: &str = "[[orchestration.access.keys]]
name = 'test'
scopes = ['read', 'submit', 'operate']
key_sha256 = 'b0345830af34442b0d1ea09ec3379dbb05ae08bf0fee450ecfa6474d5adf4c28'";
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

/// A server that runs. It is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) postgres: LocalPostgres,
    child: Child,
    log: Arc<Mutex<String>>,
    _folder: TempDir,
}

impl Server {
    /// Starts a server with these lines in section `[orchestration]`, and at most this many open files. It has
    /// template `n/t` with a step that no worker runs.
    pub(crate) async fn start(settings: &str, open_files: u32) -> Result<Self> {
        let server = Self::start_on(database().await?, settings, open_files).await?;
        let template = json!({ "name": "t", "namespace_name": "n", "version": "1.0.0",
                               "steps": [{ "name": "a", "handler": { "callable": "c" } }] });
        let stored = send(server.address, "POST", "/v1/templates", &[JSON, KEY], &template.to_string()).await?;
        ensure!(stored.status == 201, "{stored:?}");
        Ok(server)
    }

    /// Starts a server on a migrated database.
    pub(crate) async fn start_on(postgres: LocalPostgres, settings: &str, open_files: u32) -> Result<Self> {
        // The clients of the tests need open files too.
        tasker_runtime::http::room_for_connections(1_500, 0);
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("tasker.toml");
        std::fs::write(
            &config,
            format!(
                "[database]\nurl = '{}'\n[logging]\nformat = 'json'\n[orchestration]\nport = 0\n{settings}\n",
                postgres.url()
            ),
        )?;
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &open_files.to_string()])
            .arg(env!("CARGO_BIN_EXE_tasker-server"))
            .arg("--config")
            .arg(&config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for variable in ["PATH", "HOME", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(variable) {
                command.env(variable, value);
            }
        }
        let mut child = command.spawn()?;
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        let (found, address) = tokio::sync::oneshot::channel();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            let mut found = Some(found);
            while let Ok(Some(line)) = lines.next_line().await {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if let (Some(address), Some(_)) = (event["address"].as_str(), &found)
                    && let Some(found) = found.take()
                {
                    let _ = found.send(address.to_owned());
                }
                kept.lock().push_str(&format!("{line}\n"));
            }
        });
        let address = match tokio::time::timeout(DEADLINE, address).await {
            Ok(Ok(address)) => address.parse()?,
            _ => anyhow::bail!("the server does not listen: {}", log.lock()),
        };
        Ok(Self { address, postgres, child, log, _folder: folder })
    }

    /// Sends a request with a JSON body and closes the connection.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Result<Answer> {
        send(self.address, "POST", path, &[JSON], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        send(self.address, "GET", path, &[], "").await
    }

    /// Creates a task and returns its id.
    pub(crate) async fn create_task(&self) -> Result<String> {
        let created = self.post("/v1/tasks", r#"{"namespace":"n","name":"t","context":{}}"#).await?;
        ensure!(created.status == 201, "{created:?}");
        Ok(created.json()?["task_uuid"].as_str().context("no id")?.to_owned())
    }

    /// How often the log contains these words.
    pub(crate) fn logged(&self, words: &str) -> usize {
        self.log.lock().matches(words).count()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Waits until the log contains these words this often.
    pub(crate) async fn wait_for_log(&self, words: &str, times: usize) -> Result<()> {
        let begun = Instant::now();
        while self.logged(words) < times {
            ensure!(begun.elapsed() < DEADLINE, "the log lacks {words:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until the log contains these words, and fails if it repeats them.
    pub(crate) async fn logged_once(&self, words: &str) -> Result<()> {
        self.wait_for_log(words, 1).await?;
        ensure!(self.logged(words) == 1, "the log repeats {words:?}: {}", self.log());
        Ok(())
    }

    /// The resident memory of the process, in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        let pid = self.child.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}
