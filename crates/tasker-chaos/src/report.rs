//! What a campaign has shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// What a campaign has shown. As JSON, with these names, it is what `tasker-chaos --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed of the faults.
    pub seed: u64,
    /// How long faults were injected.
    pub seconds: f64,
    /// How long it took then until everything had come to rest.
    pub settled_after_seconds: f64,
    /// How many faults there were.
    pub faults: u64,
    /// The same, by kind.
    pub faults_by_kind: BTreeMap<String, u64>,
    /// Faults that found nothing to harm, by kind.
    pub missed_faults: BTreeMap<String, u64>,
    /// Kinds of faults that could not be injected on this machine, and why.
    pub not_run: BTreeMap<String, String>,
    /// Tasks by the state to which they came.
    pub tasks: BTreeMap<String, u64>,
    /// Steps of these tasks.
    pub steps: i64,
    /// Attempts of these steps.
    pub attempts: i64,
    /// Steps that had no attempt left because workers were lost. An operator let them run again.
    pub exhausted_steps: u64,
    /// Results that did not count, because their lease was over or never was. Those of killed workers' last moments are unknown.
    pub refused_results: u64,
    /// Messages that named no step and were set aside.
    pub rejected_messages: i64,
    /// Answers of the API that were errors, by status; those that were no answer by name.
    pub error_answers: BTreeMap<String, u64>,
    /// The longest time from a fault until the work that it had interrupted went on.
    pub longest_recovery_seconds: f64,
    /// The same, by kind. Faults overlap, so another one may have prolonged it.
    pub longest_recovery_seconds_by_kind: BTreeMap<String, f64>,
    /// What should not have been. Empty.
    pub violations: Vec<String>,
    /// The history, the steps and the messages of some tasks with which something was wrong, or that were late to come to rest.
    pub evidence: Vec<String>,
}

impl Report {
    /// Whether nothing was lost, doubled or wrong.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:.0} s, {} faults", self.seed, self.seconds, self.faults)?;
        for (kind, count) in &self.faults_by_kind {
            let recovery = self.longest_recovery_seconds_by_kind.get(kind);
            let recovery = recovery.map(|time| format!("   longest recovery {time:.1} s")).unwrap_or_default();
            writeln!(f, "  {kind:24} {count:6}{recovery}")?;
        }
        for (kind, why) in &self.not_run {
            writeln!(f, "  {kind:24} not run: {why}")?;
        }
        for (kind, count) in &self.missed_faults {
            writeln!(f, "  {kind:24} {count:6} found nothing to harm")?;
        }
        let tasks: Vec<_> = self.tasks.iter().map(|(state, count)| format!("{count} {state}")).collect();
        writeln!(f, "tasks: {}", tasks.join(", "))?;
        writeln!(f, "{} steps, {} attempts, {} exhausted", self.steps, self.attempts, self.exhausted_steps)?;
        writeln!(f, "{} results refused, {} messages set aside", self.refused_results, self.rejected_messages)?;
        let answers: Vec<_> = self.error_answers.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "error answers: {}", if answers.is_empty() { "none".to_owned() } else { answers.join(", ") })?;
        writeln!(
            f,
            "longest recovery {:.1} s; settled after {:.1} s",
            self.longest_recovery_seconds, self.settled_after_seconds
        )?;
        write!(f, "violations: {}", if self.is_clean() { "none" } else { "" })?;
        for line in self.violations.iter().chain(&self.evidence) {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}
