//! The stack under test: PostgreSQL, servers and workers.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_postgres::{LocalPostgres, Options};
use parking_lot::RwLock;
use serde_json::json;
use tasker_client::OrchestrationClient;
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::{Clock, ClockLibrary};
use crate::group::ProcessGroup;
use crate::ledger::Ledger;
use crate::process::Process;

/// How long a worker may hold a step without extending its lease.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// How long a process may take to start while faults hit PostgreSQL.
const START_LIMIT: Duration = Duration::from_secs(60);
const START_PAUSE: Duration = Duration::from_millis(200);

/// PostgreSQL, servers and workers.
#[derive(Debug)]
pub(crate) struct Stack {
    // Dropped in this order.
    pub(crate) workers: Vec<Place>,
    pub(crate) servers: Vec<Place>,
    /// Locked by the fault that stops or kills PostgreSQL.
    pub(crate) postgres: Mutex<LocalPostgres>,
    database_url: String,
    /// The group of all servers and workers.
    _group: Arc<ProcessGroup>,
}

/// One server or worker. A new process replaces it whenever it is killed.
#[derive(Debug)]
pub(crate) struct Place {
    recipe: Recipe,
    /// Locked by the fault that hits it.
    process: Mutex<Process>,
    /// The address of its API, and how often it was replaced.
    now: RwLock<(String, u32)>,
    /// Its clock, if clocks can be moved.
    pub(crate) clock: Option<Clock>,
}

/// How to start a process.
#[derive(Debug)]
struct Recipe {
    name: &'static str,
    number: usize,
    arguments: &'static [&'static str],
    settings: PathBuf,
    variables: Vec<(&'static str, OsString)>,
    group: Arc<ProcessGroup>,
    ledger: Arc<Ledger>,
}

impl Stack {
    /// Starts everything, with files in `folder`. PostgreSQL is fully durable, as by default.
    pub(crate) async fn start(
        servers: usize,
        workers: usize,
        clocks: Option<&ClockLibrary>,
        folder: &Path,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let settings = vec![("max_connections".to_owned(), "400".to_owned())];
        let postgres = LocalPostgres::start(Options { settings, ..Options::default() }).await?;
        let group = Arc::new(ProcessGroup::start(folder)?);
        let settings = folder.join("settings.toml");
        let mut text = String::new();
        writeln!(text, "[database]\nurl = {}", json!(postgres.url()))?;
        writeln!(text, "[logging]\nformat = \"json\"\nfilter = \"info,tasker_worker=debug\"")?;
        writeln!(text, "[orchestration]\nshutdown_timeout_ms = 1000")?;
        // One worker has room for all steps, so that no step waits for a free slot while the others are down.
        writeln!(
            text,
            "[worker]\nmax_concurrent = 2000\nlease_ms = {}\nshutdown_timeout_ms = 1000",
            LEASE.as_millis()
        )?;
        fs::write(&settings, text)?;
        let mut stack = Self {
            workers: Vec::new(),
            servers: Vec::new(),
            database_url: postgres.url(),
            postgres: Mutex::new(postgres),
            _group: Arc::clone(&group),
        };
        let recipe = |name, number, arguments| Recipe {
            name,
            number,
            arguments,
            settings: settings.clone(),
            variables: Vec::new(),
            group: Arc::clone(&group),
            ledger: Arc::clone(ledger),
        };
        for number in 0..servers {
            stack.servers.push(Place::fill(recipe("tasker-server", number, &["--migrate"]), None).await?);
        }
        for number in 0..workers {
            let mut recipe = recipe("rust-worker", number, &[]);
            let file = settings.with_file_name(format!("worker-{number}.clock"));
            let clock = clocks.map(|_| Clock::new(file)).transpose()?;
            if let (Some(library), Some(clock)) = (clocks, &clock) {
                recipe.variables.extend(library.variables(clock));
            }
            stack.workers.push(Place::fill(recipe, clock).await?);
        }
        Ok(stack)
    }

    /// The URL of the database, with the password.
    pub(crate) fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A client of one of the servers: consecutive turns give consecutive servers.
    pub(crate) fn api(&self, turn: usize) -> Result<OrchestrationClient> {
        let server = self.servers.get(turn % self.servers.len().max(1)).context("there is no server")?;
        Ok(OrchestrationClient::new(&server.url())?)
    }

    /// Stops all workers and servers with SIGTERM, each even if another one fails. Records those that do not exit
    /// cleanly.
    pub(crate) async fn stop(&self, ledger: &Ledger) {
        for place in self.workers.iter().chain(&self.servers) {
            if let Err(error) = place.stop().await {
                ledger.violation(format!("{error:#}"));
            }
        }
    }

    /// Makes sure that everything runs, nothing exited unasked, and all clocks are right.
    pub(crate) async fn repair(&self) -> Result<()> {
        self.postgres.lock().await.resume().await?;
        for place in self.servers.iter().chain(&self.workers) {
            if let Some(clock) = &place.clock {
                clock.set(0)?;
            }
            drop(place.enter().await?);
        }
        Ok(())
    }
}

impl Place {
    async fn fill(recipe: Recipe, clock: Option<Clock>) -> Result<Self> {
        let process = recipe.start(0).await?;
        let now = RwLock::new((process.url(), 0));
        Ok(Self { recipe, process: Mutex::new(process), now, clock })
    }

    /// The address of its API.
    pub(crate) fn url(&self) -> String {
        self.now.read().0.clone()
    }

    /// The worker id of the current process.
    pub(crate) fn worker_id(&self) -> String {
        self.recipe.worker_id(self.now.read().1)
    }

    /// Locks the process for a fault. It must be running, because only the holder of this lock stops it.
    pub(crate) async fn enter(&self) -> Result<MutexGuard<'_, Process>> {
        let mut process = self.process.lock().await;
        if let Some(status) = process.ended()? {
            let (name, log) = (self.recipe.name, process.log());
            self.recipe.ledger.violation(format!("{name} exited unasked ({status}):\n{log}"));
            self.refill(&mut process).await?;
        }
        Ok(process)
    }

    /// Stops the process with SIGTERM. It must exit cleanly.
    pub(crate) async fn stop(&self) -> Result<MutexGuard<'_, Process>> {
        let mut process = self.enter().await?;
        let status = process.stop().await?;
        if !status.success() {
            let (name, log) = (self.recipe.name, process.log());
            self.recipe.ledger.violation(format!("{name} did not exit cleanly after SIGTERM ({status}):\n{log}"));
        }
        Ok(process)
    }

    /// Replaces a process that has exited.
    pub(crate) async fn refill(&self, process: &mut Process) -> Result<()> {
        let generation = self.now.read().1 + 1;
        *process = self.recipe.start(generation).await?;
        *self.now.write() = (process.url(), generation);
        Ok(())
    }
}

impl Recipe {
    /// Tries until it works, because a process that does not reach the database when it starts exits.
    async fn start(&self, generation: u32) -> Result<Process> {
        let mut variables = self.variables.clone();
        variables.push(("TASKER_WORKER_ID", self.worker_id(generation).into()));
        let begun = Instant::now();
        loop {
            let started =
                Process::start(self.name, self.arguments, &self.settings, &variables, &self.group, &self.ledger);
            let error = match started.await {
                Ok(process) => return Ok(process),
                Err(error) => error,
            };
            ensure!(begun.elapsed() < START_LIMIT, "cannot start {}: {error:#}", self.name);
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    fn worker_id(&self, generation: u32) -> String {
        format!("worker-{}.{generation}", self.number)
    }
}
