//! What a connection is doing, and until when it may do so.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Limits;
use super::slots::Slot;

/// How long a connection of the reserve may exist. A health check takes a second at most.
const RESERVED_LIFETIME: Duration = Duration::from_secs(3);

/// What one connection is doing. The reader of its bytes and the service of its requests report to it.
pub(super) struct Activity {
    limits: Limits,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    slot: Slot,
    phase: Phase,
    deadline: Option<Instant>,
}

#[derive(PartialEq)]
enum Phase {
    /// No byte of the next request has arrived.
    Idle,
    /// The headers of a request are arriving.
    Headers,
    /// The body of a request is arriving. Its reader has a timeout of its own.
    Body,
    /// A complete request is being handled.
    Busy,
    /// A response was sent although the body of its request had not arrived completely.
    Unread,
}

impl Activity {
    pub(super) fn new(slot: Slot, limits: Limits) -> Self {
        let patience = if slot.is_reserved() { RESERVED_LIFETIME } else { limits.header_timeout };
        let state = State { slot, phase: Phase::Idle, deadline: Some(Instant::now() + patience) };
        Self { limits, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Bytes have arrived.
    pub(super) fn received(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Idle {
            state.phase = Phase::Headers;
            self.set_deadline(&mut state, Some(self.limits.header_timeout));
        }
    }

    /// The headers of a request are complete. Returns false if the connection is being closed.
    pub(super) fn headers_complete(&self, has_body: bool) -> bool {
        let mut state = self.state.lock();
        self.set_deadline(&mut state, None);
        if has_body {
            state.phase = Phase::Body;
            return true;
        }
        state.phase = Phase::Busy;
        state.slot.work()
    }

    /// The body of a request is complete. Returns false if the connection is being closed.
    pub(super) fn body_complete(&self) -> bool {
        let mut state = self.state.lock();
        if state.phase == Phase::Body {
            state.phase = Phase::Busy;
        }
        state.slot.work()
    }

    /// A response is ready. Returns whether its request has arrived completely; otherwise the connection cannot be used again.
    pub(super) fn response_ready(&self) -> bool {
        let mut state = self.state.lock();
        let complete = state.phase != Phase::Body;
        state.phase = if complete { Phase::Idle } else { Phase::Unread };
        state.slot.wait();
        self.set_deadline(&mut state, Some(self.limits.idle_timeout));
        complete
    }

    /// Whether no request has arrived completely and none is being handled.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Idle | Phase::Headers)
    }

    /// Whether the last request was not read to its end.
    pub(super) fn is_unread(&self) -> bool {
        self.state.lock().phase == Phase::Unread
    }

    /// Whether only health checks may use the connection.
    pub(super) fn is_reserved(&self) -> bool {
        self.state.lock().slot.is_reserved()
    }

    /// Completes when the connection must be closed: it has lost its slot, or its deadline has passed.
    pub(super) async fn end(&self) {
        let closed = self.state.lock().slot.closed();
        let overdue = async {
            loop {
                let changed = self.changed.notified();
                let deadline = self.state.lock().deadline;
                match deadline {
                    Some(deadline) if deadline <= Instant::now() => break,
                    Some(deadline) => {
                        tokio::select! {
                            () = changed => {}
                            () = sleep_until(deadline) => {}
                        }
                    }
                    None => changed.await,
                }
            }
        };
        tokio::select! {
            () = closed.cancelled() => {}
            () = overdue => {}
        }
    }

    fn set_deadline(&self, state: &mut State, patience: Option<Duration>) {
        if !state.slot.is_reserved() {
            state.deadline = patience.map(|patience| Instant::now() + patience);
            self.changed.notify_one();
        }
    }
}
