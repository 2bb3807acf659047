//! The result of a campaign.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// The result of a campaign. `tasker-chaos --json` prints it with these names.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed of the faults.
    pub seed: u64,
    /// How long faults were injected.
    pub seconds: f64,
    /// How long after the last fault all tasks were at rest.
    pub settled_after_seconds: f64,
    /// How many faults were injected.
    pub faults: u64,
    /// The same, by kind.
    pub faults_by_kind: BTreeMap<String, u64>,
    /// Faults that found no target, by kind.
    pub missed_faults: BTreeMap<String, u64>,
    /// Kinds of faults that cannot be injected on this machine, and why.
    pub not_run: BTreeMap<String, String>,
    /// Tasks by their final state.
    pub tasks: BTreeMap<String, u64>,
    /// Times of schedules by their outcome.
    pub schedules: BTreeMap<String, i64>,
    /// Steps of all tasks.
    pub steps: i64,
    /// Attempts of all steps.
    pub attempts: i64,
    /// Steps that had no attempts left because workers were lost. The campaign retried them as an operator does.
    pub exhausted_steps: u64,
    /// Results that were refused because their lease had expired or never existed. May miss results of workers that
    /// were killed.
    pub refused_results: u64,
    /// Messages that named no step and were moved to the rejected messages.
    pub rejected_messages: i64,
    /// Failed requests by the status of the response, or by name if there was no response.
    pub error_answers: BTreeMap<String, u64>,
    /// The longest time until work that a fault interrupted continued.
    pub longest_recovery_seconds: f64,
    /// The same, by kind. Faults overlap, so another one may have contributed.
    pub longest_recovery_seconds_by_kind: BTreeMap<String, f64>,
    /// What went wrong. Empty if all is well.
    pub violations: Vec<String>,
    /// The history, steps and messages of some of the tasks that were wrong or late.
    pub evidence: Vec<String>,
}

impl Report {
    /// Whether nothing was lost, duplicated or wrong.
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
            writeln!(f, "  {kind:24} {count:6} found no target")?;
        }
        let tasks: Vec<_> = self.tasks.iter().map(|(state, count)| format!("{count} {state}")).collect();
        writeln!(f, "tasks: {}", tasks.join(", "))?;
        let schedules: Vec<_> = self.schedules.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        writeln!(f, "times of schedules: {}", schedules.join(", "))?;
        writeln!(f, "{} steps, {} attempts, {} exhausted", self.steps, self.attempts, self.exhausted_steps)?;
        writeln!(f, "{} results refused, {} messages rejected", self.refused_results, self.rejected_messages)?;
        let answers: Vec<_> = self.error_answers.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "failed requests: {}", if answers.is_empty() { "none".to_owned() } else { answers.join(", ") })?;
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
