//! The faults, one module for each kind of target.

mod availability;
mod backends;
mod deliveries;
mod failover;
mod foreign;
mod junk;
mod lies;
mod processes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use tasker_engine::Failure;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::field::Field;
use crate::plan::{Fault, Kind};

/// How many faults may overlap.
const MAX_AT_ONCE: usize = 12;
/// How often a fault looks for a target, because PostgreSQL may be unavailable, and the pause between.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// Injects the faults of a plan until there are no more or the time is over. Returns when the last one has ended.
/// Call this in a `LocalSet`.
pub(crate) async fn inject(field: &Arc<Field>, plan: impl Iterator<Item = Fault>, duration: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for fault in plan {
        sleep(fault.pause.min(duration.saturating_sub(begun.elapsed()))).await;
        if begun.elapsed() >= duration {
            break;
        }
        while running.len() >= MAX_AT_ONCE {
            running.join_next().await.transpose()?;
        }
        while running.try_join_next().transpose()?.is_some() {}
        running.spawn_local(inject_one(Arc::clone(field), fault));
    }
    while running.join_next().await.transpose()?.is_some() {}
    Ok(())
}

async fn inject_one(field: Arc<Field>, fault: Fault) {
    field.ledger.tell(fault.kind);
    let mut injected = false;
    for _ in 0..TRIES {
        match attempt(&field, fault).await {
            Ok(true) => {
                injected = true;
                break;
            }
            // There is no target, or PostgreSQL is unavailable or read-only.
            Ok(false) => {}
            Err(error)
                if error
                    .downcast_ref::<sqlx::Error>()
                    .is_some_and(|error| matches!(Failure::of(error), Failure::Unavailable | Failure::NotWritable)) => {
            }
            Err(error) => {
                field.ledger.violation(format!("{}: {error:#}", fault.kind));
                break;
            }
        }
        sleep(PAUSE).await;
    }
    field.ledger.fault(fault.kind, injected);
}

/// Tries to inject a fault. Returns false if there is no target.
async fn attempt(field: &Arc<Field>, fault: Fault) -> Result<bool> {
    let Fault { kind, seed, .. } = fault;
    let mut rng = Rng::with_seed(seed);
    match kind {
        Kind::KillWorker => processes::kill_worker(field, kind, &mut rng).await,
        Kind::KillServer => processes::kill_server(field, &mut rng).await,
        Kind::RestartWorker => processes::restart(&field.stack.workers, &mut rng).await,
        Kind::RestartServer => processes::restart(&field.stack.servers, &mut rng).await,
        Kind::SuspendWorker => processes::suspend_worker(field, kind, &mut rng).await,
        Kind::JumpClock => processes::jump_clock(field, &mut rng),
        Kind::KillBackend => backends::kill(field, kind, &mut rng).await,
        Kind::CrashPostgres => backends::crash(field, kind, &mut rng).await,
        Kind::ReadOnly => availability::read_only(field, kind, &mut rng).await,
        Kind::ExhaustConnections => availability::exhaust_connections(field, kind, &mut rng).await,
        Kind::FullDisk => availability::full_disk(field, kind, &mut rng).await,
        Kind::KillPooler => processes::kill_pooler(field, &mut rng).await,
        Kind::FailOver => failover::fail_over(field, kind, &mut rng).await,
        Kind::ForeignSnapshot => foreign::hold_snapshot(field, &mut rng).await,
        Kind::ForeignLocks => foreign::hold_locks(field, &mut rng).await,
        Kind::WrongToken => lies::wrong_token(field, &mut rng).await,
        Kind::OldToken => lies::old_token(field, &mut rng).await,
        Kind::ForeignToken => lies::foreign_token(field, &mut rng).await,
        Kind::Vanish => lies::claim_and_vanish(field, &mut rng).await,
        Kind::ReturnTwice => lies::return_twice(field, &mut rng).await,
        Kind::ExtendLost => lies::extend_lost(field, &mut rng).await,
        Kind::Junk => junk::send(field, &mut rng).await,
        Kind::DuplicateResult => deliveries::duplicate(field, &mut rng).await,
        Kind::RacingResults => deliveries::racing(field, &mut rng).await,
        Kind::ReorderedResults => deliveries::reordered(field, &mut rng).await,
        Kind::LateResult => deliveries::late(field, &mut rng).await,
    }
}
