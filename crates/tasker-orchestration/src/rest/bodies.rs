//! The memory that request bodies may take, over all connections.
//!
//! The first bytes of each body are free, so that clients that fill the memory with large bodies do not keep out small
//! ones. A body counts until its request has been handled, because what was parsed from it lives that long.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::state;

/// How many bytes of each body are free.
const FREE: usize = 16 * 1024;

/// The memory for bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    free: Arc<Semaphore>,
    limit: usize,
}

impl Bodies {
    /// Memory of this many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(limit)), limit }
    }
}

/// An extension of a request: the memory that its body takes, until the last clone is dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken(Arc<Mutex<Vec<OwnedSemaphorePermit>>>);

/// Keeps the memory of the request's body until the returned value is dropped.
pub(super) fn keep(request: &mut Request) -> Taken {
    request.extensions_mut().get_or_insert_default::<Taken>().clone()
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(state: &state::State, request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::too_large(format!("the limit is {limit} bytes (orchestration.max_body_bytes)"));
    let taken = request.extensions().get::<Taken>().cloned().unwrap_or_default();
    let mut body: Body = request.into_body();
    let announced = body.size_hint().lower();
    if announced > limit.try_into().unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or(0).min(FREE));
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map(|frame| frame.into_data().unwrap_or_default()) else {
            // The connection is lost, and nobody reads the response.
            return Err(ApiError::malformed("the request body did not arrive completely"));
        };
        let counted = (bytes.len() + data.len()).saturating_sub(FREE.max(bytes.len()));
        if bytes.len() + data.len() > limit {
            return Err(too_large());
        }
        // A frame has far less than 4 GiB.
        let counted = u32::try_from(counted).unwrap_or(u32::MAX);
        if counted > 0 {
            let free = Arc::clone(&state.bodies.free);
            let permit = free.try_acquire_many_owned(counted);
            taken.0.lock().push(permit.map_err(|_| ApiError::too_many_bodies(state.bodies.limit))?);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}
