//! The stack that is broken: PostgreSQL, servers and workers.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use local_postgres::{LocalPostgres, Options};
use serde_json::json;
use tasker_client::OrchestrationClient;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::{Clock, ClockLibrary};
use crate::ledger::Ledger;
use crate::process::Process;

/// How long a claimed step belongs to a worker without a word of it.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// How long a process may need to start, while PostgreSQL comes and goes.
const START_LIMIT: Duration = Duration::from_secs(60);
const START_PAUSE: Duration = Duration::from_millis(200);

/// PostgreSQL, servers and workers.
#[derive(Debug)]
pub(crate) struct Stack {
    // In the order in which they end.
    pub(crate) workers: Vec<Place>,
    pub(crate) servers: Vec<Place>,
    /// Locked by the fault that stops or kills it.
    pub(crate) postgres: Mutex<LocalPostgres>,
    database_url: String,
    _folder: TempDir,
}

/// The place of a process, which is filled again whenever it is killed.
#[derive(Debug)]
pub(crate) struct Place {
    recipe: Recipe,
    /// Locked by the fault that it suffers.
    process: Mutex<Process>,
    /// The address of its API, and how often the place was filled.
    now: RwLock<(String, u32)>,
    /// Its clock, where it can be moved.
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
    ledger: Arc<Ledger>,
}

impl Stack {
    /// Starts everything. PostgreSQL waits for the disk, as by default.
    pub(crate) async fn start(
        servers: usize,
        workers: usize,
        clocks: Option<&ClockLibrary>,
        ledger: &Arc<Ledger>,
    ) -> Result<Self> {
        let settings = vec![("max_connections".to_owned(), "400".to_owned())];
        let postgres = LocalPostgres::start(Options { settings, ..Options::default() }).await?;
        let folder = TempDir::new()?;
        let settings = folder.path().join("settings.toml");
        let mut text = String::new();
        writeln!(text, "[database]\nurl = {}", json!(postgres.url()))?;
        writeln!(text, "[logging]\nformat = \"json\"\nfilter = \"info,tasker_worker=debug\"")?;
        writeln!(text, "[orchestration]\nshutdown_timeout_ms = 1000")?;
        // Room for everything on one worker, so that the others' steps never wait for a free slot.
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
            _folder: folder,
        };
        let recipe = |name, number, arguments| Recipe {
            name,
            number,
            arguments,
            settings: settings.clone(),
            variables: Vec::new(),
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

    /// The address of the database, with the password.
    pub(crate) fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A client of the server whose turn it is: numbers go round.
    pub(crate) fn api(&self, turn: usize) -> Result<OrchestrationClient> {
        let server = self.servers.get(turn % self.servers.len().max(1)).context("there is no server")?;
        Ok(OrchestrationClient::new(&server.url())?)
    }

    /// Asks all workers and servers to end, whatever becomes of the others: who does not do so in order is told of.
    pub(crate) async fn end(&self, ledger: &Ledger) {
        for place in self.workers.iter().chain(&self.servers) {
            if let Err(error) = place.end().await {
                ledger.violation(format!("{error:#}"));
            }
        }
    }

    /// Makes sure that all run, none has ended by itself, and all clocks are right.
    pub(crate) async fn mend(&self) -> Result<()> {
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
        self.now.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// The name of the worker that is there now.
    pub(crate) fn worker_id(&self) -> String {
        self.recipe.worker_id(self.now.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// The process, for who does something to it. It must run: nobody else ends it.
    pub(crate) async fn enter(&self) -> Result<MutexGuard<'_, Process>> {
        let mut process = self.process.lock().await;
        if let Some(status) = process.ended()? {
            let (name, log) = (self.recipe.name, process.log());
            self.recipe.ledger.violation(format!("{name} ended by itself ({status}):\n{log}"));
            self.refill(&mut process).await?;
        }
        Ok(process)
    }

    /// Asks the process to end, as SIGTERM does: it must do so in order.
    pub(crate) async fn end(&self) -> Result<MutexGuard<'_, Process>> {
        let mut process = self.enter().await?;
        let status = process.stop().await?;
        if !status.success() {
            let (name, log) = (self.recipe.name, process.log());
            self.recipe.ledger.violation(format!("{name} after SIGTERM: {status}:\n{log}"));
        }
        Ok(process)
    }

    /// Starts a new process where one has ended.
    pub(crate) async fn refill(&self, process: &mut Process) -> Result<()> {
        let generation = self.now.read().unwrap_or_else(PoisonError::into_inner).1 + 1;
        *process = self.recipe.start(generation).await?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (process.url(), generation);
        Ok(())
    }
}

impl Recipe {
    /// Tries until it works: a process that finds no database when it starts says so and ends.
    async fn start(&self, generation: u32) -> Result<Process> {
        let mut variables = self.variables.clone();
        variables.push(("TASKER_WORKER_ID", self.worker_id(generation).into()));
        let begun = Instant::now();
        loop {
            let error = match Process::start(self.name, self.arguments, &self.settings, &variables, &self.ledger).await
            {
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
