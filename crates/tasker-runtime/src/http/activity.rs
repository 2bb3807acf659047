//! What a connection is doing, and until when it may do so.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::slots::Slot;

/// How long a connection of the reserve may exist. A health check takes a second at most.
const RESERVED_LIFETIME: Duration = Duration::from_secs(3);

/// What one connection is doing. The reader of its bytes and the service of its requests report to it, both within
/// the task of the connection.
#[derive(Debug)]
pub(super) struct Activity {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    slot: Slot,
    phase: Phase,
    deadline: Option<Instant>,
}

#[derive(Debug, PartialEq)]
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
        Self { limits, state: Mutex::new(state) }
    }

    /// Bytes have arrived.
    pub(super) fn received(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Idle {
            state.phase = Phase::Headers;
            Self::set_deadline(&mut state, Some(self.limits.header_timeout));
        }
    }

    /// The headers of a request are complete. Returns false if the connection is being closed.
    pub(super) fn headers_complete(&self, has_body: bool) -> bool {
        let mut state = self.state.lock();
        Self::set_deadline(&mut state, None);
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

    /// A response is ready. Returns whether its request has arrived completely; otherwise the connection cannot be
    /// used again.
    pub(super) fn response_ready(&self) -> bool {
        let mut state = self.state.lock();
        let complete = state.phase != Phase::Body;
        state.phase = if complete { Phase::Idle } else { Phase::Unread };
        state.slot.wait();
        Self::set_deadline(&mut state, Some(self.limits.idle_timeout));
        complete
    }

    /// The connection may lose its slot from now on, although it handles a request.
    pub(super) fn allow_replacement(&self) {
        self.state.lock().slot.wait();
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

    /// Until when the connection may go on as it is. None while it handles a request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.state.lock().deadline
    }

    /// Is cancelled when the connection loses its slot.
    pub(super) fn closed(&self) -> CancellationToken {
        self.state.lock().slot.closed()
    }

    fn set_deadline(state: &mut State, patience: Option<Duration>) {
        if !state.slot.is_reserved() {
            state.deadline = patience.map(|patience| Instant::now() + patience);
        }
    }
}
