//! The ids of spans. Those that another process must know are derived from what both know.

use std::cell::Cell;

use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use sha2::{Digest, Sha256};

thread_local! {
    /// The id of the next span of this thread, if it is not random.
    static NEXT: Cell<Option<SpanId>> = const { Cell::new(None) };
    /// The id of the next trace of this thread, if it is not random.
    static NEXT_TRACE: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Derives the id of a span from what identifies it.
pub fn span_id(parts: &[&[u8]]) -> SpanId {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let digest = digest.finalize();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    SpanId::from_bytes(id)
}

/// Runs `start`, whose first new span gets the id.
pub fn with_span_id<T>(id: SpanId, start: impl FnOnce() -> T) -> T {
    NEXT.set(Some(id));
    let started = start();
    NEXT.set(None);
    started
}

/// Runs `start`, whose first new trace begins at this place.
pub fn with_place<T>(place: &SpanContext, start: impl FnOnce() -> T) -> T {
    NEXT_TRACE.set(Some(place.trace_id()));
    let started = with_span_id(place.span_id(), start);
    NEXT_TRACE.set(None);
    started
}

/// Random ids, and those of [`with_span_id`] and [`with_place`].
#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT_TRACE.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.take().unwrap_or_else(|| self.0.new_span_id())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{TraceFlags, TraceState};

    use super::*;

    #[test]
    fn only_the_next_span_has_the_derived_id() {
        let (ids, id) = (Ids::default(), span_id(&[b"task", b"1"]));
        assert_eq!(id, span_id(&[b"task", b"1"]));
        assert_ne!(id, span_id(&[b"task", b"2"]));
        let (first, second) = with_span_id(id, || (ids.new_span_id(), ids.new_span_id()));
        assert_eq!(first, id);
        assert_ne!(second, id);
        with_span_id(id, || ());
        assert_ne!(ids.new_span_id(), id);
    }

    #[test]
    fn only_the_next_trace_begins_at_the_place() {
        let (ids, trace, span) = (Ids::default(), TraceId::from(7), SpanId::from(8));
        let place = SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE);
        let begin = || (ids.new_trace_id(), ids.new_span_id());
        let (first, second) = with_place(&place, || (begin(), begin()));
        assert_eq!(first, (trace, span));
        assert!(second.0 != trace && second.1 != span);
        with_place(&place, || ());
        assert_ne!(begin(), (trace, span));
    }
}
