//! Clients that watch the live stream, as pages of the console do.

use tasker_api::ListTasks;
use tasker_client::{OrchestrationApiClient, OrchestrationClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::failure::Failure;

/// The tasks of a page.
const ROWS: i64 = 50;

/// Open streams. They are closed when this is dropped.
pub(super) struct Watchers {
    streams: JoinSet<()>,
}

impl Watchers {
    /// Opens streams. Each has what the dashboard, the list of tasks and the list of workers show.
    pub(super) async fn open(api: &OrchestrationClient, url: &str, count: u32) -> Result<Self, Failure> {
        let page = api.list_tasks(&ListTasks { limit: Some(ROWS), ..ListTasks::default() }).await?;
        let rows = page.tasks.iter().map(|task| format!(",row:{}", task.task_uuid));
        let topics = format!("stats,workers,new{}", rows.collect::<String>());
        let address = url.trim_start_matches("http://");
        let mut streams = JoinSet::new();
        for _ in 0..count {
            let failed = |error| Failure::failed(format!("the live stream at {url} cannot be opened: {error}"));
            let mut stream = TcpStream::connect(address).await.map_err(failed)?;
            let request = format!("GET /v1/events?topics={topics} HTTP/1.1\r\nhost: {address}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.map_err(failed)?;
            let mut bytes = vec![0; 16 * 1024];
            let read = stream.read(&mut bytes).await.map_err(failed)?;
            let response = String::from_utf8_lossy(&bytes[..read]).into_owned();
            if !response.starts_with("HTTP/1.1 200") {
                return Err(Failure::failed(format!("the live stream at {url} responds with {response}")));
            }
            streams.spawn(async move { while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {} });
        }
        Ok(Self { streams })
    }

    /// Closes the streams. Fails if the server has ended one of them.
    pub(super) fn close(mut self) -> Result<(), Failure> {
        match self.streams.try_join_next() {
            None => Ok(()),
            Some(_) => Err(Failure::failed("the server has ended a live stream")),
        }
    }
}
