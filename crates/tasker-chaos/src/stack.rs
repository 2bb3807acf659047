//! The stack under test: PostgreSQL, a pooler, servers and workers.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_postgres::{LocalPostgres, Options};
use parking_lot::RwLock;
use serde_json::json;
use tasker_client::OrchestrationClient;
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::{Clock, ClockLibrary};
use crate::disk::Disk;
use crate::gate::Gate;
use crate::group::ProcessGroup;
use crate::ledger::Ledger;
use crate::pooler::Pooler;
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
    /// The pooler between the database and the last server and worker.
    pub(crate) pooler: Option<Pooler>,
    /// The address of the database for everyone.
    pub(crate) gate: Gate,
    /// Locked by the fault that stops, kills or replaces PostgreSQL.
    pub(crate) postgres: Mutex<LocalPostgres>,
    /// The file system of PostgreSQL's data, if it has one of its own.
    pub(crate) disk: Option<Disk>,
    /// How many folders of data there were.
    data_dirs: AtomicU32,
    database_url: String,
    /// The group of all servers and workers.
    _group: Arc<ProcessGroup>,
}

/// What a stack consists of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) servers: usize,
    pub(crate) workers: usize,
    pub(crate) clocks: Option<ClockLibrary>,
    pub(crate) disk: Option<Disk>,
    /// The program of the pooler.
    pub(crate) pooler: Option<PathBuf>,
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
    pub(crate) async fn start(parts: Parts, folder: &Path, ledger: &Arc<Ledger>) -> Result<Self> {
        let Parts { servers, workers, clocks, disk, pooler } = parts;
        // Enough for everyone, and for processes that replace others while the sessions of those still end.
        let connections = 60 + 25 * (servers + workers);
        let settings = vec![("max_connections".to_owned(), connections.to_string())];
        let data_dirs = AtomicU32::new(0);
        let data_dir = data_dir(disk.as_ref(), &data_dirs);
        let postgres = LocalPostgres::start(Options { settings, data_dir }).await?;
        let gate = Gate::open(postgres.port()).await?;
        let database_url = postgres.url().replace(&format!(":{}/", postgres.port()), &format!(":{}/", gate.port()));
        let group = Arc::new(ProcessGroup::start(folder)?);
        let pooler = match pooler {
            Some(program) => Some(Pooler::start(program, &database_url, folder, &group).await?),
            None => None,
        };
        let direct = write_settings(folder.join("direct.toml"), &database_url)?;
        let pooled = match &pooler {
            Some(pooler) => write_settings(folder.join("pooled.toml"), &pooler.url())?,
            None => direct.clone(),
        };
        let mut stack = Self {
            workers: Vec::new(),
            servers: Vec::new(),
            pooler,
            gate,
            postgres: Mutex::new(postgres),
            disk,
            data_dirs,
            database_url,
            _group: Arc::clone(&group),
        };
        let recipe = |name, number, of, arguments| Recipe {
            name,
            number,
            arguments,
            settings: if number > 0 && number + 1 == of { pooled.clone() } else { direct.clone() },
            variables: Vec::new(),
            group: Arc::clone(&group),
            ledger: Arc::clone(ledger),
        };
        let with_clock = |mut recipe: Recipe| -> Result<_> {
            let file = folder.join(format!("{}-{}.clock", recipe.name, recipe.number));
            let clock = clocks.as_ref().map(|_| Clock::new(file)).transpose()?;
            if let (Some(library), Some(clock)) = (&clocks, &clock) {
                recipe.variables.extend(library.variables(clock));
            }
            Ok((recipe, clock))
        };
        for number in 0..servers {
            let (recipe, clock) = with_clock(recipe("tasker-server", number, servers, &["--migrate"]))?;
            stack.servers.push(Place::fill(recipe, clock).await?);
        }
        for number in 0..workers {
            let (recipe, clock) = with_clock(recipe("rust-worker", number, workers, &[]))?;
            stack.workers.push(Place::fill(recipe, clock).await?);
        }
        Ok(stack)
    }

    /// Where the next PostgreSQL keeps its data. None for a temporary folder.
    pub(crate) fn next_data_dir(&self) -> Option<PathBuf> {
        data_dir(self.disk.as_ref(), &self.data_dirs)
    }

    /// The URL of the database, with the password. It stays the same after a failover.
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

fn data_dir(disk: Option<&Disk>, count: &AtomicU32) -> Option<PathBuf> {
    disk.map(|disk| disk.folder(&format!("postgresql-{}", count.fetch_add(1, Ordering::Relaxed))))
}

/// Writes the settings of a process.
fn write_settings(file: PathBuf, database_url: &str) -> Result<PathBuf> {
    let mut text = String::new();
    writeln!(text, "[database]\nurl = {}", json!(database_url))?;
    writeln!(text, "[logging]\nformat = \"json\"\nfilter = \"info,tasker_worker=debug\"")?;
    writeln!(text, "[orchestration]\nshutdown_timeout_ms = 1000")?;
    // One worker has room for all steps, so that no step waits for a free slot while the others are down.
    let lease = LEASE.as_millis();
    writeln!(text, "[worker]\nmax_concurrent = 2000\nlease_ms = {lease}\nshutdown_timeout_ms = 1000")?;
    fs::write(&file, text)?;
    Ok(file)
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
            ensure!(begun.elapsed() < self.ledger.limit(START_LIMIT), "cannot start {}: {error:#}", self.name);
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    fn worker_id(&self, generation: u32) -> String {
        format!("worker-{}.{generation}", self.number)
    }
}
