//! What happened in a campaign, counted while it runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tasker_api::TaskState;
use tasker_client::ClientError;

use crate::plan::Kind;

/// Violations that are kept; what breaks a rule breaks it many times.
const KEPT_VIOLATIONS: usize = 100;
/// How long after an outage the API may still meet what is left of it: sessions that are dead, and PostgreSQL that starts.
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

/// The book that all write into.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
    outage: Mutex<Outage>,
    begun: Instant,
    /// Tells on standard error what happens.
    loud: bool,
}

/// When PostgreSQL was away, or may have been.
#[derive(Debug)]
struct Outage {
    going_on: u32,
    over_since: Option<Instant>,
}

/// PostgreSQL is away, or may be, while this lives.
#[derive(Debug)]
pub(crate) struct Away<'a>(&'a Ledger);

/// What an answer of the API that is an error means to the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is known: ask again.
    AskAgain,
    /// That is the answer.
    Refused,
}

impl Ledger {
    pub(crate) fn new(loud: bool) -> Self {
        let outage = Outage { going_on: 0, over_since: None };
        Self { entries: Mutex::default(), outage: Mutex::new(outage), begun: Instant::now(), loud }
    }

    /// Tells on standard error what happens, if that is wanted.
    pub(crate) fn tell(&self, what: impl std::fmt::Display) {
        if self.loud {
            eprintln!("{:8.3} {what}", self.begun.elapsed().as_secs_f64());
        }
    }

    /// Everything so far.
    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        lock(&self.entries)
    }

    pub(crate) fn violation(&self, what: String) {
        self.tell(format_args!("VIOLATION {what}"));
        let mut entries = self.entries();
        if entries.violations.len() < KEPT_VIOLATIONS && !entries.violations.contains(&what) {
            entries.violations.push(what);
        }
    }

    /// What is known of tasks with which something is wrong. The first is enough: it is what led to the rest.
    pub(crate) fn evidence(&self, lines: Vec<String>) {
        let mut entries = self.entries();
        if entries.evidence.is_empty() {
            entries.evidence = lines;
        }
    }

    /// A fault was injected, or, where it found nothing to harm, it was not.
    pub(crate) fn fault(&self, kind: Kind, injected: bool) {
        self.tell(format_args!("{kind} {}", if injected { "is over" } else { "found nothing to harm" }));
        let mut entries = self.entries();
        let counts = if injected { &mut entries.faults } else { &mut entries.missed };
        *counts.entry(kind.to_string()).or_default() += 1;
    }

    /// A kind of fault cannot be injected here.
    pub(crate) fn not_run(&self, kind: Kind, why: String) {
        self.entries().not_run.insert(kind.to_string(), why);
    }

    pub(crate) fn task(&self, state: TaskState) {
        *self.entries().tasks.entry(state.to_string()).or_default() += 1;
    }

    pub(crate) fn refused(&self, results: usize) {
        self.entries().refused += results as u64;
    }

    /// The work that a fault had interrupted went on after this time.
    pub(crate) fn recovery(&self, kind: Kind, time: Duration) {
        self.tell(format_args!("{kind}: the work went on after {:.3} s", time.as_secs_f64()));
        let mut entries = self.entries();
        let longest = entries.recoveries.entry(kind.to_string()).or_default();
        *longest = time.max(*longest);
    }

    /// To be called before PostgreSQL is stopped or killed.
    pub(crate) fn away(&self) -> Away<'_> {
        lock(&self.outage).going_on += 1;
        Away(self)
    }

    /// Counts an answer that is an error, and judges it.
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
        if name == "unexpected" || name == "500" && !self.was_away() {
            self.violation(format!("the API gave a wrong answer while PostgreSQL was there: {error}"));
        }
        *self.entries().answers.entry(name).or_default() += 1;
        verdict
    }

    /// A line of a process's log.
    pub(crate) fn logged(&self, name: &str, line: &str) {
        if line.contains("panicked at") {
            self.violation(format!("{name} panicked: {line}"));
        }
        // What the worker says of a result that was refused.
        if line.contains("a result came too late and was refused") {
            self.refused(1);
        }
    }

    fn was_away(&self) -> bool {
        let outage = lock(&self.outage);
        outage.going_on > 0 || outage.over_since.is_some_and(|since| since.elapsed() < AFTERMATH)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let mut outage = lock(&self.0.outage);
        outage.going_on -= 1;
        outage.over_since = Some(Instant::now());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
