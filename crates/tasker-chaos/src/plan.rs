//! Which faults, in which order, after which pauses. The seed alone determines it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// How long to wait before the fault.
    pub(crate) pause: Duration,
    pub(crate) kind: Kind,
    /// The seed of the fault's own choices, such as the process or row that it hits.
    pub(crate) seed: u64,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $weight:literal;)*) => {
        /// What goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            /// Every kind with its weight.
            pub(crate) const WEIGHTS: &[(Self, u32)] = &[$((Self::$variant, $weight),)*];

            /// The name in reports and on the command line.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// SIGKILL, then a new process.
    KillWorker = "kill_worker", 3;
    KillServer = "kill_server", 3;
    /// SIGTERM, then a new process once it has exited.
    RestartWorker = "restart_worker", 2;
    RestartServer = "restart_server", 2;
    /// SIGKILL of a session of a worker or a server: PostgreSQL restarts all its sessions.
    KillBackend = "kill_backend", 3;
    /// Immediate shutdown of PostgreSQL, then a start.
    CrashPostgres = "crash_postgres", 2;
    /// The database is read-only for a while.
    ReadOnly = "read_only_database", 2;
    /// Foreign sessions take every connection that PostgreSQL allows.
    ExhaustConnections = "exhausted_connections", 2;
    /// The disk of PostgreSQL's data is full for a while.
    FullDisk = "full_disk", 2;
    /// SIGKILL of the pooler between some of the processes and PostgreSQL, then a new one.
    KillPooler = "kill_pooler", 2;
    /// The primary crashes, and a standby takes its place.
    FailOver = "fail_over", 1;
    /// A foreign transaction stays open and keeps a snapshot.
    ForeignSnapshot = "foreign_snapshot", 2;
    /// A foreign transaction stays open and keeps locks on a few rows.
    ForeignLocks = "foreign_locks", 3;
    /// SIGSTOP past the leases, then SIGCONT.
    SuspendWorker = "suspend_worker", 3;
    /// The clock of a worker or a server jumps by up to a day.
    JumpClock = "jump_clock", 6;
    /// Results with tokens that were never issued.
    WrongToken = "lie_wrong_token", 10;
    /// Results with tokens that have expired.
    OldToken = "lie_old_token", 8;
    /// Results with the token of another step.
    ForeignToken = "lie_foreign_token", 8;
    /// A claim without a result.
    Vanish = "lie_claim_and_vanish", 6;
    /// A step returned twice.
    ReturnTwice = "lie_return_twice", 8;
    /// Extensions of leases that have expired.
    ExtendLost = "lie_extend_lost_lease", 8;
    /// Foreign messages in the queues.
    Junk = "lie_junk_messages", 8;
    /// A true result twice in one batch, and again later.
    DuplicateResult = "duplicate_result", 8;
    /// A true result and an error of the same attempt, at the same time.
    RacingResults = "racing_results", 8;
    /// True results in reverse order, each after an error of the same attempt.
    ReorderedResults = "reordered_results", 8;
    /// A true result after the end of its lease.
    LateResult = "late_result", 8;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An endless sequence of faults.
#[derive(Debug)]
pub(crate) struct Plan {
    rng: Rng,
    wanted: BTreeSet<Kind>,
}

impl Plan {
    /// The plan of a seed. Leaving out some kinds does not change the others.
    pub(crate) fn new(seed: u64, wanted: BTreeSet<Kind>) -> Self {
        Self { rng: Rng::with_seed(seed), wanted }
    }
}

impl Iterator for Plan {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        if self.wanted.is_empty() {
            return None;
        }
        loop {
            let pause = Duration::from_millis(self.rng.u64(50..=750));
            let mut ticket = self.rng.u32(0..Kind::WEIGHTS.iter().map(|(_, weight)| weight).sum());
            let seed = self.rng.u64(..);
            for &(kind, weight) in Kind::WEIGHTS {
                if ticket < weight {
                    if !self.wanted.contains(&kind) {
                        break;
                    }
                    return Some(Fault { pause, kind, seed });
                }
                ticket -= weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> BTreeSet<Kind> {
        Kind::WEIGHTS.iter().map(|(kind, _)| *kind).collect()
    }

    fn first(seed: u64) -> Vec<Fault> {
        Plan::new(seed, all()).take(1_000).collect()
    }

    #[test]
    fn the_seed_alone_determines_the_plan() {
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        let mut wanted = all();
        wanted.remove(&Kind::JumpClock);
        let without_clocks: Vec<_> = Plan::new(1, wanted).take(900).collect();
        let rest: Vec<_> = first(1).into_iter().filter(|fault| fault.kind != Kind::JumpClock).take(900).collect();
        assert_eq!(without_clocks, rest);
    }

    #[test]
    fn a_thousand_faults_are_of_every_kind_and_fit_into_ten_minutes() {
        let faults = first(7);
        let kinds: BTreeSet<_> = faults.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds.len(), Kind::WEIGHTS.len());
        assert!(faults.iter().map(|fault| fault.pause).sum::<Duration>() < Duration::from_secs(450));
    }
}
