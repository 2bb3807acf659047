//! The stack under test.

use anyhow::{Context, Result};
use local_postgres::{LocalPostgres, Options};
use serde_json::{Value, json};
use tasker_client::{OrchestrationClient, WorkerClient};
use tempfile::TempDir;

use super::process::{Process, WORKER};

/// A stack: the one that the environment names, or a new one.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) orchestration_url: String,
    pub(crate) worker_url: String,
    _own: Option<OwnStack>,
}

impl Stack {
    /// Uses the stack that the environment names, or starts a new one.
    pub(crate) async fn start() -> Result<Self> {
        let named = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
        match (named("TASKER_TEST_ORCHESTRATION_URL"), named("TASKER_TEST_WORKER_URL")) {
            (Some(orchestration_url), Some(worker_url)) => Ok(Self { orchestration_url, worker_url, _own: None }),
            (None, None) => {
                let mut own = OwnStack::start().await?;
                let orchestration_url = own.start_server()?.url();
                let worker_url = own.start_worker()?.url();
                Ok(Self { orchestration_url, worker_url, _own: Some(own) })
            }
            _ => anyhow::bail!("set both TASKER_TEST_ORCHESTRATION_URL and TASKER_TEST_WORKER_URL, or neither"),
        }
    }

    /// A client for the server.
    pub(crate) fn api(&self) -> Result<OrchestrationClient> {
        Ok(OrchestrationClient::new(&self.orchestration_url)?)
    }

    /// A client for the worker.
    pub(crate) fn worker(&self) -> Result<WorkerClient> {
        Ok(WorkerClient::new(&self.worker_url)?)
    }
}

/// A private PostgreSQL, and as many servers and workers as a test needs.
#[derive(Debug)]
pub(crate) struct OwnStack {
    // Dropped in this order.
    pub(crate) workers: Vec<Process>,
    pub(crate) servers: Vec<Process>,
    pub(crate) postgres: LocalPostgres,
    /// `TASKER_ENV` of the processes that start later.
    pub(crate) environment: &'static str,
    /// Other variables of the environment of the processes that start later.
    pub(crate) variables: Vec<(&'static str, &'static str)>,
    settings: TempDir,
}

impl OwnStack {
    /// Starts PostgreSQL, without servers and workers.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(json!({})).await
    }

    /// The same, with settings of section `worker`.
    pub(crate) async fn start_with(worker: Value) -> Result<Self> {
        // Commits survive a crash of PostgreSQL, but not of the machine. Tests need no more.
        let settings = [("fsync", "off"), ("synchronous_commit", "on")];
        let postgres = LocalPostgres::start(Options {
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..Options::default()
        })
        .await?;
        let settings = TempDir::new()?;
        let mut text =
            format!("[database]\nurl = {}\n\n[logging]\nformat = \"json\"\n\n[worker]\n", json!(postgres.url()));
        for (name, value) in worker.as_object().context("settings are an object")? {
            text += &format!("{name} = {value}\n");
        }
        std::fs::write(settings.path().join("settings.toml"), text)?;
        Ok(Self {
            workers: Vec::new(),
            servers: Vec::new(),
            postgres,
            environment: "",
            variables: Vec::new(),
            settings,
        })
    }

    /// Adds settings (TOML), for the processes that start later.
    pub(crate) fn configure(&self, toml: &str) -> Result<()> {
        let path = self.settings.path().join("settings.toml");
        let settings = std::fs::read_to_string(&path)?;
        Ok(std::fs::write(path, format!("{settings}\n{toml}"))?)
    }

    /// Starts one more server.
    pub(crate) fn start_server(&mut self) -> Result<&Process> {
        let settings = self.settings.path().join("settings.toml");
        let server = Process::start("tasker-server", &settings, &self.variables(), &["--migrate"])?;
        self.servers.push(server);
        self.servers.last().context("just started")
    }

    /// Starts one more worker. Start a server first, because it migrates the database.
    pub(crate) fn start_worker(&mut self) -> Result<&Process> {
        let worker = Process::start(WORKER, &self.settings.path().join("settings.toml"), &self.variables(), &[])?;
        self.workers.push(worker);
        self.workers.last().context("just started")
    }

    fn variables(&self) -> Vec<(&'static str, &'static str)> {
        [("TASKER_ENV", self.environment)].into_iter().chain(self.variables.iter().copied()).collect()
    }

    /// A client for a server.
    pub(crate) fn api(&self, server: usize) -> Result<OrchestrationClient> {
        let server = self.servers.get(server).context("no such server")?;
        Ok(OrchestrationClient::new(&server.url())?)
    }
}
