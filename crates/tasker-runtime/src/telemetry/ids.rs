//! The ids of spans. Those that another process must know are derived from what both know.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use sha2::{Digest, Sha256};

thread_local! {
    /// The id of the next span of this thread, if it is not random.
    static NEXT: Cell<Option<SpanId>> = const { Cell::new(None) };
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

/// Random ids, and the id of [`with_span_id`].
#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        self.0.new_trace_id()
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.take().unwrap_or_else(|| self.0.new_span_id())
    }
}

#[cfg(test)]
mod tests {
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
}
