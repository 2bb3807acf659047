//! The header `traceparent` (W3C Trace Context): how one process tells the next one where it is in a trace.

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The name of the header.
pub const TRACEPARENT: &str = "traceparent";

/// The place in a trace that a `traceparent` names. None if the text is not valid.
pub fn parse(traceparent: &str) -> Option<SpanContext> {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}

/// The `traceparent` of a place in a trace. None if it is not valid, which means that there is no trace.
pub fn format(place: &SpanContext) -> Option<String> {
    let mut carrier = HashMap::new();
    let context = Context::new().with_remote_span_context(place.clone());
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_read_and_written() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let place = parse(text).unwrap();
        assert!(place.is_sampled() && place.is_remote());
        assert_eq!(format(&place).unwrap(), text);
        assert!(!parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().is_sampled());
    }

    #[test]
    fn an_invalid_traceparent_is_no_trace() {
        for text in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(format(&SpanContext::NONE), None);
    }
}
