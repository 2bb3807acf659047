//! The faults, one module for each thing that suffers them.

mod backends;
mod deliveries;
mod foreign;
mod junk;
mod lies;
mod processes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::field::Field;
use crate::plan::{Fault, Kind};

/// Faults that are going on at the same time, at most.
const MAX_AT_ONCE: usize = 12;
/// How often a fault looks for something to harm, and how long it waits between: PostgreSQL may be away.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// Injects the faults of a plan until there are no more or the time is over, and returns when the last one is. To be called in
/// a `LocalSet`.
pub(crate) async fn inject(field: &Arc<Field>, plan: impl Iterator<Item = Fault>, duration: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut going_on = JoinSet::new();
    for fault in plan {
        sleep(fault.pause.min(duration.saturating_sub(begun.elapsed()))).await;
        if begun.elapsed() >= duration {
            break;
        }
        while going_on.len() >= MAX_AT_ONCE {
            going_on.join_next().await.transpose()?;
        }
        while going_on.try_join_next().transpose()?.is_some() {}
        going_on.spawn_local(inject_one(Arc::clone(field), fault));
    }
    while going_on.join_next().await.transpose()?.is_some() {}
    Ok(())
}

async fn inject_one(field: Arc<Field>, fault: Fault) {
    field.ledger.tell(fault.kind);
    let mut found_something = false;
    for _ in 0..TRIES {
        match attempt(&field, fault).await {
            Ok(true) => {
                found_something = true;
                break;
            }
            // Nothing to harm, or no PostgreSQL to do it.
            Ok(false) => {}
            Err(error) if error.downcast_ref::<sqlx::Error>().is_some_and(is_outage) => {}
            Err(error) => {
                field.ledger.violation(format!("{}: {error:#}", fault.kind));
                break;
            }
        }
        sleep(PAUSE).await;
    }
    field.ledger.fault(fault.kind, found_something);
}

/// Tries to inject a fault; false if it found nothing to harm.
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
        Kind::ForeignSnapshot => foreign::hold_snapshot(field, &mut rng).await,
        Kind::ForeignLocks => foreign::hold_locks(field, &mut rng).await,
        Kind::WrongToken => lies::wrong_token(field, &mut rng).await,
        Kind::OldToken => lies::old_token(field, &mut rng).await,
        Kind::ForeignToken => lies::foreign_token(field, &mut rng).await,
        Kind::Vanish => lies::claim_and_vanish(field, &mut rng).await,
        Kind::HandBackTwice => lies::hand_back_twice(field, &mut rng).await,
        Kind::ExtendLost => lies::extend_lost(field, &mut rng).await,
        Kind::Junk => junk::send(field, &mut rng).await,
        Kind::DuplicateResult => deliveries::duplicate(field, &mut rng).await,
        Kind::RacingResults => deliveries::racing(field, &mut rng).await,
        Kind::ReorderedResults => deliveries::reordered(field, &mut rng).await,
        Kind::LateResult => deliveries::late(field, &mut rng).await,
    }
}

/// Whether an error is one of those that a database has that is away, starting or shutting down.
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        // Classes 08, 53, 57: the connection, resources, the server's shutdown.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class)))
        }
        _ => matches!(
            error,
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed
        ),
    }
}
