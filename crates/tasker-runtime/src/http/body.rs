//! A request body that reports when it has arrived completely.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::activity::Activity;

pub(super) struct Body {
    pub(super) incoming: Incoming,
    pub(super) activity: Arc<Activity>,
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx)).transpose()?;
        let complete = frame.is_none() || self.incoming.is_end_stream();
        if complete && !self.activity.body_complete() {
            return Poll::Ready(Some(Err("the connection is being closed".into())));
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
