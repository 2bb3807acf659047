//! Serves one connection.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::activity::Activity;
use super::body::Body;
use super::slots::Slot;
use super::{Connection, Limits};

/// The most bytes of the headers of a request, including its address.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// How much of an unread request body is read after the response, and for how long. Without this, the client's
/// system would discard the response, because the connection is reset while the client still sends.
const DRAIN_BYTES: u64 = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What handles the requests of a connection.
pub(super) struct Service {
    pub(super) app: Router,
    /// Makes the response to requests that a connection of the reserve does not serve.
    pub(super) busy: fn() -> Response,
    pub(super) peer: SocketAddr,
}

/// Serves a connection until its end, its deadline, or the shutdown.
pub(super) async fn serve(
    stream: TcpStream,
    service: Service,
    slot: Slot,
    limits: Limits,
    shutdown: CancellationToken,
) {
    // Small responses leave at once, not when the client has acknowledged the previous one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let activity = Arc::new(Activity::new(slot, limits));
    let closed = activity.closed();
    let mut closed = pin!(closed.cancelled());
    let mut exchange = pin!(exchange(stream, service, &activity, shutdown));
    let mut timer = pin!(sleep_until(Instant::now()));
    // All in one place, because each further future around the exchange would add its size to every connection.
    poll_fn(|cx| {
        if closed.as_mut().poll(cx).is_ready() || exchange.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Only the exchange changes the deadline, so it is enough to look after each poll. Most requests touch no
        // timer.
        let Some(deadline) = activity.deadline() else { return Poll::Pending };
        loop {
            if timer.is_elapsed() || deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
        }
    })
    .await;
}

async fn exchange(stream: TcpStream, service: Service, activity: &Arc<Activity>, shutdown: CancellationToken) {
    let reader = Arc::clone(activity);
    let io = InspectReader::new(stream, move |bytes: &[u8]| {
        if !bytes.is_empty() {
            reader.received();
        }
    });
    let service = service_fn(|request| respond(&service, Arc::clone(activity), request));
    let mut connection = http1::Builder::new()
        // The deadline of the connection takes its place.
        .header_read_timeout(None)
        .max_header_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(io), service);
    let mut shutdown = pin!(shutdown.cancelled_owned());
    let mut stopping = false;
    let ended = poll_fn(|cx| {
        if !stopping && shutdown.as_mut().poll(cx).is_ready() {
            stopping = true;
            if activity.is_waiting() {
                return Poll::Ready(Ok(()));
            }
            Pin::new(&mut connection).graceful_shutdown();
        }
        Pin::new(&mut connection).poll(cx)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    } else if activity.is_unread() {
        let mut unread = connection.into_parts().io.into_inner().take(DRAIN_BYTES);
        // Whatever happens, the connection is closed afterwards.
        let _ = tokio::time::timeout(DRAIN_TIME, tokio::io::copy(&mut unread, &mut tokio::io::sink())).await;
    }
}

/// Handles one request.
async fn respond(service: &Service, activity: Arc<Activity>, request: Request<Incoming>) -> Result<Response, Closed> {
    if !activity.headers_complete(!request.body().is_end_stream()) {
        return Err(Closed);
    }
    let mut response = if activity.is_reserved() && !request.uri().path().starts_with("/health") {
        (service.busy)()
    } else {
        let body = Arc::clone(&activity);
        let mut request = request.map(|incoming| axum::body::Body::new(Body { incoming, activity: body }));
        request.extensions_mut().insert(ConnectInfo(service.peer));
        request.extensions_mut().insert(Connection(Arc::clone(&activity)));
        let Ok(response) = service.app.clone().call(request).await;
        response
    };
    if !activity.response_ready() || activity.is_reserved() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// The connection has lost its slot, so it must not start a request.
#[derive(Debug, thiserror::Error)]
#[error("the connection is being closed")]
struct Closed;
