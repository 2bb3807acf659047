//! Counts what happens in a campaign.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tasker_api::TaskState;
use tasker_client::ClientError;

use crate::plan::Kind;

/// How many violations are kept. A bug usually breaks a rule many times.
const KEPT_VIOLATIONS: usize = 100;
/// How long after an outage the API may still see its effects: dead sessions, and PostgreSQL starting.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Everything that was counted.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) missed: BTreeMap<String, u64>,
    pub(crate) not_run: BTreeMap<String, String>,
    pub(crate) tasks: BTreeMap<String, u64>,
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) recoveries: BTreeMap<String, Duration>,
    pub(crate) refused: u64,
    pub(crate) exhausted: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) evidence: Vec<String>,
}

/// Collects the events of all parts of a campaign.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
    outage: Mutex<Outage>,
    begun: Instant,
    /// Multiplies the limits of time.
    slack: u32,
    /// Prints events on standard error.
    loud: bool,
}

/// When PostgreSQL was unavailable, or may have been.
#[derive(Debug)]
struct Outage {
    going_on: u32,
    over_since: Option<Instant>,
}

/// While this value lives, PostgreSQL is unavailable, or may be.
#[derive(Debug)]
pub(crate) struct Unavailable<'a>(&'a Ledger);

/// What an error response of the API means to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The outcome is unknown: repeat the request.
    AskAgain,
    /// The request was refused.
    Refused,
}

impl Ledger {
    pub(crate) fn new(slack: u32, loud: bool) -> Self {
        let outage = Outage { going_on: 0, over_since: None };
        Self { entries: Mutex::default(), outage: Mutex::new(outage), begun: Instant::now(), slack, loud }
    }

    /// Prints an event on standard error, if the timeline was requested.
    pub(crate) fn tell(&self, what: impl std::fmt::Display) {
        if self.loud {
            eprintln!("{:8.3} {what}", self.begun.elapsed().as_secs_f64());
        }
    }

    /// A limit of time on this machine.
    pub(crate) fn limit(&self, limit: Duration) -> Duration {
        limit * self.slack
    }

    /// All counts so far.
    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }

    pub(crate) fn violation(&self, what: String) {
        self.tell(format_args!("VIOLATION {what}"));
        let mut entries = self.entries();
        if entries.violations.len() < KEPT_VIOLATIONS && !entries.violations.contains(&what) {
            entries.violations.push(what);
        }
    }

    /// Details of tasks that are wrong. Only the first are kept, because they usually caused the rest.
    pub(crate) fn evidence(&self, lines: Vec<String>) {
        let mut entries = self.entries();
        if entries.evidence.is_empty() {
            entries.evidence = lines;
        }
    }

    /// Counts a fault. It was not injected if it found no target.
    pub(crate) fn fault(&self, kind: Kind, injected: bool) {
        self.tell(format_args!("{kind} {}", if injected { "ends" } else { "found no target" }));
        let mut entries = self.entries();
        let counts = if injected { &mut entries.faults } else { &mut entries.missed };
        *counts.entry(kind.to_string()).or_default() += 1;
    }

    /// Records that a kind of fault cannot be injected on this machine.
    pub(crate) fn not_run(&self, kind: Kind, why: String) {
        self.entries().not_run.insert(kind.to_string(), why);
    }

    pub(crate) fn task(&self, state: TaskState) {
        *self.entries().tasks.entry(state.to_string()).or_default() += 1;
    }

    pub(crate) fn refused(&self, results: usize) {
        self.entries().refused += results as u64;
    }

    /// Records how long it took until work that a fault interrupted continued.
    pub(crate) fn recovery(&self, kind: Kind, time: Duration) {
        self.tell(format_args!("{kind}: work continued after {:.3} s", time.as_secs_f64()));
        let mut entries = self.entries();
        let longest = entries.recoveries.entry(kind.to_string()).or_default();
        *longest = time.max(*longest);
    }

    /// Call this before stopping or killing PostgreSQL.
    pub(crate) fn outage(&self) -> Unavailable<'_> {
        self.outage.lock().going_on += 1;
        Unavailable(self)
    }

    /// Counts an error response, and says what it means.
    pub(crate) fn answer(&self, error: &ClientError) -> Verdict {
        let (name, verdict) = match error {
            ClientError::Unreachable { .. } => ("unreachable".to_owned(), Verdict::AskAgain),
            ClientError::Timeout { .. } => ("timeout".to_owned(), Verdict::AskAgain),
            ClientError::Problem(problem) => {
                let verdict = if problem.status >= 500 { Verdict::AskAgain } else { Verdict::Refused };
                (problem.status.to_string(), verdict)
            }
            _ => ("unexpected".to_owned(), Verdict::AskAgain),
        };
        if name == "unexpected" || name == "500" && !self.was_unavailable() {
            self.violation(format!("the API gave a wrong response while PostgreSQL was available: {error}"));
        }
        *self.entries().answers.entry(name).or_default() += 1;
        verdict
    }

    /// Reads a line of a process's log.
    pub(crate) fn logged(&self, name: &str, line: &str) {
        if line.contains("panicked at") {
            self.violation(format!("{name} panicked: {line}"));
        }
        // The worker's message for a refused result.
        if line.contains("a result came too late and was refused") {
            self.refused(1);
        }
    }

    fn was_unavailable(&self) -> bool {
        let outage = self.outage.lock();
        outage.going_on > 0 || outage.over_since.is_some_and(|since| since.elapsed() < self.limit(AFTERMATH))
    }
}

impl Drop for Unavailable<'_> {
    fn drop(&mut self) {
        let mut outage = self.0.outage.lock();
        outage.going_on -= 1;
        outage.over_since = Some(Instant::now());
    }
}
