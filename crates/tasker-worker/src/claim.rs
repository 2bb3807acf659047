//! Claims steps while there are free slots.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgmq_notify::{Event, Listener};
use tokio::time::sleep;

use crate::attempt;
use crate::look_back::LookBack;
use crate::outage::{Outage, bounded};
use crate::shared::Shared;

/// How long to wait if a message is visible but the last claim found nothing: another transaction has locked it.
const LOCKED_PAUSE: Duration = Duration::from_millis(100);
/// How long the worker waits for a notification before it asks the database when the next message is due. A busy worker
/// gets a notification first and saves that query.
const QUIET: Duration = Duration::from_millis(10);

/// Turns notifications into wake-ups. `namespaces` maps channels to namespaces.
pub(crate) async fn listen(shared: Arc<Shared>, mut listener: Listener, namespaces: HashMap<String, String>) {
    while let Some(event) = shared.draining.run_until_cancelled(listener.next()).await {
        match event {
            Event::Notified { channel, payload } => {
                // The payload says how many seconds ago the message became visible. With any other payload, that is
                // unknown.
                let ago = payload.parse().ok().map(Duration::from_secs);
                shared.wake.notify(namespaces.get(&channel), ago.and_then(|ago| Instant::now().checked_sub(ago)));
            }
            Event::Connected => shared.wake.notify(&shared.namespaces, None),
        }
    }
}

/// Claims steps and starts their attempts until the worker drains.
pub(crate) async fn claim_steps(shared: Arc<Shared>) {
    let mut outage = Outage::new("claim steps");
    let mut found_nothing = false;
    let mut turn = 0;
    let mut look_back = LookBack::default();
    shared.wake.notify(&shared.namespaces, None);
    while let Some(mut slots) = shared.free_slots().await {
        let mut woken = shared.wake.take();
        if woken.is_empty() {
            drop(slots);
            shared.draining.run_until_cancelled(wait_for_work(&shared, found_nothing)).await;
            continue;
        }
        // The engine serves the namespaces in this order. The rotation lets each of them be the first in turn.
        turn = (turn + 1) % woken.len();
        woken.rotate_left(turn);
        let began = Instant::now();
        let spans: Vec<_> = woken.iter().map(|(namespace, since)| look_back.span(namespace, *since, began)).collect();
        let namespaces: Vec<_> = woken.iter().map(|(namespace, _)| namespace.clone()).collect();
        let limit = slots.num_permits();
        let limit_u32 = u32::try_from(limit).unwrap_or(u32::MAX);
        let claim =
            shared.engine.start_steps(&shared.worker_id, &namespaces, limit_u32, shared.settings.lease(), &spans);
        match bounded(claim).await {
            Ok(steps) => {
                outage.recovered();
                shared.metrics.claimed(began.elapsed());
                found_nothing = steps.is_empty();
                let full = steps.len() == limit;
                for ((namespace, since), span) in woken.iter().zip(spans) {
                    let claimed = steps.iter().filter(|step| step.namespace == *namespace);
                    let newest = claimed.filter_map(|step| step.waited_seconds).min_by(f64::total_cmp);
                    match newest.map(Duration::try_from_secs_f64) {
                        _ if !full => look_back.learn(namespace, span, began, began),
                        // The engine claims the oldest steps first, so there may be newer ones.
                        Some(Ok(waited)) => {
                            look_back.learn(namespace, span, began, began.checked_sub(waited).unwrap_or(began));
                            shared.wake.notify([namespace], Some(began));
                        }
                        // The claim may not have reached this namespace.
                        _ => shared.wake.notify([namespace], *since),
                    }
                }
                for step in steps {
                    if let Some(slot) = slots.split(1) {
                        attempt::start(&shared, step, slot);
                    }
                }
            }
            Err(error) => {
                drop(slots);
                shared.wake.notify(&namespaces, None);
                shared.metrics.database_failed("claim");
                shared.draining.run_until_cancelled(sleep(outage.failed(&error))).await;
            }
        }
    }
}

/// Waits until a claim may find something: until a notification arrives, or until a message becomes visible without
/// one, after the delay of a retry, the end of a lease, or a lost notification.
async fn wait_for_work(shared: &Shared, found_nothing: bool) {
    let poll_interval = shared.settings.poll_interval();
    let mut pause = QUIET;
    let mut due = Vec::new();
    loop {
        tokio::select! {
            () = shared.wake.notified() => return,
            () = sleep(pause) => {}
        }
        if !due.is_empty() {
            return shared.wake.notify(&due, None);
        }
        match bounded(shared.engine.next_due(&shared.namespaces)).await {
            Ok(messages) => {
                pause = messages.iter().map(|(_, due)| *due).min().unwrap_or(poll_interval).min(poll_interval);
                due = messages.into_iter().filter(|(_, due)| *due <= pause).map(|(namespace, _)| namespace).collect();
                if pause.is_zero() && found_nothing {
                    pause = LOCKED_PAUSE;
                }
            }
            // The next claim meets the same outage and handles it.
            Err(_) => return shared.wake.notify(&shared.namespaces, None),
        }
    }
}
