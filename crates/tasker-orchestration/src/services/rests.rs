//! Records tasks that come to rest in their traces. It runs only while traces are sent, and reads once a second.
//!
//! The database tells every server, and one of them records. If it ends, another one follows. A notification can be
//! lost, and that of a large batch names no task: such a task has no summary in its trace. Everything else of the trace
//! is complete without it.

use std::collections::BTreeSet;
use std::time::Duration;

use pgmq_notify::{Event, Listener};
use tasker_engine::{Engine, TraceRecorder};
use tasker_runtime::telemetry;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::waiters::CHANNEL;
use crate::trace;

/// How often to read.
const INTERVAL: Duration = Duration::from_secs(1);
/// The most tasks of one query.
const MAX_TASKS: usize = 1_000;

/// Runs until the token is cancelled.
pub(crate) async fn run(engine: Engine, shutdown: CancellationToken) {
    if telemetry::tracer().is_none() {
        return;
    }
    let mut listener = Listener::new(engine.pool(), [CHANNEL.to_owned()]);
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rested = BTreeSet::new();
    let mut recorder = None;
    let mut hears = false;
    while !shutdown.is_cancelled() {
        tokio::select! {
            // The last read.
            () = shutdown.cancelled() => record(&engine, &mut recorder, std::mem::take(&mut rested)).await,
            event = listener.next() => match event {
                Event::Notified { payload, .. } => {
                    rested.extend(payload.split(',').filter_map(|id| id.parse::<Uuid>().ok()));
                }
                // Until then, this server must not record: it would miss what another one hears.
                Event::Connected => hears = true,
            },
            _ = tick.tick(), if hears => record(&engine, &mut recorder, std::mem::take(&mut rested)).await,
        }
    }
}

/// Records the tasks, if this is the server that does.
async fn record(engine: &Engine, recorder: &mut Option<TraceRecorder>, rested: BTreeSet<Uuid>) {
    if let Err(error) = try_record(engine, recorder, rested).await {
        tracing::debug!(%error, "cannot read the tasks at rest; their traces have no summary");
        *recorder = None;
    }
}

async fn try_record(engine: &Engine, recorder: &mut Option<TraceRecorder>, rested: BTreeSet<Uuid>) -> sqlx::Result<()> {
    let Some(recorder) = recorder else {
        // The server that recorded until now may have recorded these tasks.
        *recorder = engine.trace_recorder().await?;
        return Ok(());
    };
    let mut rested: Vec<_> = rested.into_iter().collect();
    // It reads even if there is nothing, because it loses the right if it does not.
    loop {
        let next = rested.split_off(rested.len().min(MAX_TASKS));
        recorder.at_rest(&rested).await?.iter().for_each(trace::at_rest);
        if next.is_empty() {
            return Ok(());
        }
        rested = next;
    }
}
