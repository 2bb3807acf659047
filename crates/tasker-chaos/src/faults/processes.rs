//! Faults of servers, workers and the pooler: killed, stopped, suspended, and with clocks that jump.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::field::Field;
use crate::plan::Kind;
use crate::recovery::{self, Leases};
use crate::stack::{LEASE, Place};

fn one<'a>(places: &'a [Place], rng: &mut Rng) -> Result<&'a Place> {
    rng.choice(places).context("there is no such process")
}

/// SIGKILL of a worker. Its steps must continue.
pub(super) async fn kill_worker(field: &Arc<Field>, kind: Kind, rng: &mut Rng) -> Result<bool> {
    let place = one(&field.stack.workers, rng)?;
    let mut process = place.enter().await?;
    let worker_id = place.worker_id();
    process.kill().await?;
    // Unknown while PostgreSQL is unavailable.
    let leases = recovery::leases(field, &worker_id).await;
    let refilled = async {
        let refilled = place.refill(&mut process).await;
        drop(process);
        refilled
    };
    tokio::join!(refilled, recover(field, kind, leases)).0?;
    Ok(true)
}

/// Waits until the steps of a lost worker continue.
async fn recover(field: &Field, kind: Kind, leases: sqlx::Result<Leases>) {
    if let Ok(leases) = leases {
        recovery::of_leases(field, kind, leases).await;
    }
}

/// SIGKILL of a server.
pub(super) async fn kill_server(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let place = one(&field.stack.servers, rng)?;
    let mut process = place.enter().await?;
    process.kill().await?;
    place.refill(&mut process).await?;
    Ok(true)
}

/// SIGTERM. The process must exit cleanly.
pub(super) async fn restart(places: &[Place], rng: &mut Rng) -> Result<bool> {
    let place = one(places, rng)?;
    let mut process = place.stop().await?;
    place.refill(&mut process).await?;
    Ok(true)
}

/// SIGSTOP until the leases have expired: other workers take the steps, and the results of this one are late.
pub(super) async fn suspend_worker(field: &Arc<Field>, kind: Kind, rng: &mut Rng) -> Result<bool> {
    let place = one(&field.stack.workers, rng)?;
    let process = place.enter().await?;
    process.signal(Signal::SIGSTOP)?;
    let leases = recovery::leases(field, &place.worker_id()).await;
    let suspended = async {
        sleep(LEASE + Duration::from_millis(rng.u64(500..2_000))).await;
        let resumed = process.signal(Signal::SIGCONT);
        drop(process);
        resumed
    };
    tokio::join!(suspended, recover(field, kind, leases)).0?;
    Ok(true)
}

/// SIGKILL of the pooler, then a new one.
pub(super) async fn kill_pooler(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let pooler = field.stack.pooler.as_ref().context("there is no pooler")?;
    pooler.kill(Duration::from_millis(rng.u64(0..1_500))).await?;
    Ok(true)
}

/// The clock of a worker or a server jumps forward or back.
pub(super) fn jump_clock(field: &Arc<Field>, rng: &mut Rng) -> Result<bool> {
    let place = rng.choice(field.stack.workers.iter().chain(&field.stack.servers).collect::<Vec<_>>());
    let clock = place.and_then(|place| place.clock.as_ref()).context("the clock cannot be moved")?;
    clock.set(rng.i64(-86_400..=86_400))?;
    Ok(true)
}
