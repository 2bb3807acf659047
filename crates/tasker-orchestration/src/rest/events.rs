//! `/v1/events`: a live stream of what a page shows, as server-sent events.
//!
//! The first event of a topic is complete, so a page that connects again replaces what it has, and misses nothing.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;
use tasker_api::{GoneEvent, NewTasksEvent, Problem, RowEvent, StepBrief, TaskEvent, WatchTopics, WorkerList};
use tasker_engine::WatchedStep;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::access::Principal;
use super::error::ApiError;
use super::extract::QueryString;
use super::{bulk, state};
use crate::filter::first_id;
use crate::services::live::{Look, Seen, Subscription};

/// The most topics of a stream.
const MAX_TOPICS: usize = 256;
/// How often to look at new tasks and bulk jobs.
const SECOND: Duration = Duration::from_secs(1);
/// How often to look at the statistics and the workers.
const STATS: Duration = Duration::from_secs(2);
/// How often to send a comment, so that the connection is not idle.
const COMMENT: Duration = Duration::from_secs(15);
/// How long a client may take to read an event before the stream ends.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Events that may wait for the client.
const WAITING: usize = 16;
/// Counting new tasks stops here.
const MAX_NEW: u32 = 1_000;

/// What a stream watches.
#[derive(Debug, Default)]
struct Topics {
    tasks: Vec<Uuid>,
    rows: Vec<Uuid>,
    jobs: Vec<Uuid>,
    new: Vec<NewTasks>,
    stats: bool,
    workers: bool,
}

/// Tasks that are created while a stream is open.
#[derive(Debug)]
struct NewTasks {
    /// None: every namespace that the caller may use.
    namespace: Option<String>,
    /// Whether the count has reached its limit. Then only the newest task can change, and nothing is counted again.
    full: bool,
}

impl Topics {
    fn parse(text: &str, principal: &Principal) -> Result<Self, ApiError> {
        let names: HashSet<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.is_empty() || names.len() > MAX_TOPICS {
            return Err(ApiError::malformed(format!("topics must name 1 to {MAX_TOPICS} topics, not {}", names.len())));
        }
        let mut topics = Self::default();
        for name in names {
            let (kind, of) = name.split_once(':').map_or((name, None), |(kind, of)| (kind, Some(of)));
            let id = || {
                let id = of.unwrap_or_default();
                id.parse::<Uuid>().map_err(|error| ApiError::malformed(format!("topic {name}: not a UUID: {error}")))
            };
            match (kind, of) {
                ("task", Some(_)) => topics.tasks.push(id()?),
                ("row", Some(_)) => topics.rows.push(id()?),
                ("bulk", Some(_)) => topics.jobs.push(id()?),
                ("new", namespace) => {
                    if let Some(namespace) = namespace {
                        principal.require_namespace(namespace)?;
                    }
                    topics.new.push(NewTasks { namespace: namespace.map(str::to_owned), full: false });
                }
                ("stats", None) => topics.stats = true,
                ("workers", None) => topics.workers = true,
                _ => {
                    return Err(ApiError::malformed(format!(
                        "'{name}' is not a topic; the topics are task:UUID, row:UUID, bulk:UUID, stats, workers, new and \
                         new:NAMESPACE"
                    )));
                }
            }
        }
        Ok(topics)
    }
}

/// An event, as the description of the API shows it.
pub(super) struct AnyEvent;

impl PartialSchema for AnyEvent {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let names = ["task", "row", "gone", "stats", "workers", "new", "bulk"];
        let data = "JSON: `TaskEvent`, `RowEvent`, `GoneEvent`, `Stats`, `WorkerList`, `NewTasksEvent` or `BulkJob`, in the \
                    order of the names";
        ObjectBuilder::new()
            .property("event", text().enum_values(Some(names)).description(Some("The name of the event")))
            .property("data", text().content_media_type("application/json").description(Some(data)))
            .required("event")
            .required("data")
            .into()
    }
}

impl ToSchema for AnyEvent {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.extend([
            (TaskEvent::name().into_owned(), TaskEvent::schema()),
            (RowEvent::name().into_owned(), RowEvent::schema()),
            (GoneEvent::name().into_owned(), GoneEvent::schema()),
            (NewTasksEvent::name().into_owned(), NewTasksEvent::schema()),
        ]);
        TaskEvent::schemas(schemas);
    }
}

/// Streams changes as server-sent events: `task`, `row`, `gone`, `stats`, `workers`, `new`, `bulk`. The data of each event
/// is JSON.
#[utoipa::path(get, path = "/v1/events", params(WatchTopics),
    responses(
        (status = 200, body = AnyEvent, content_type = "text/event-stream", description = "The events"),
        (status = 400, body = Problem)))]
pub(super) async fn events(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<WatchTopics>,
) -> Result<Response, ApiError> {
    let topics = Topics::parse(&query.topics, &principal)?;
    let (events, waiting) = mpsc::channel(WAITING);
    let watched = topics.tasks.iter().map(|task| (*task, true)).chain(topics.rows.iter().map(|task| (*task, false)));
    let subscription = state.live.subscribe(watched.collect());
    let stream = EventStream { events, sent: HashMap::new() };
    tokio::spawn(watch(state, principal, topics, subscription, stream));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // A proxy that collects the events would delay them.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(Received(waiting))).into_response())
}

/// The body of the response.
struct Received(mpsc::Receiver<Bytes>);

impl Stream for Received {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// The stream has ended: the client is gone, or does not read.
struct Ended;

/// Where the events go.
struct EventStream {
    events: mpsc::Sender<Bytes>,
    /// The last data of topics that are read again and again.
    sent: HashMap<String, String>,
}

impl EventStream {
    async fn send(&self, event: &str, data: &impl Serialize) -> Result<(), Ended> {
        let json = serde_json::to_string(data).map_err(|_| Ended)?;
        self.write(format!("event: {event}\ndata: {json}\n\n")).await
    }

    /// Sends the data of a topic if it has changed.
    async fn send_changed(&mut self, topic: &str, event: &str, data: &impl Serialize) -> Result<(), Ended> {
        let json = serde_json::to_string(data).map_err(|_| Ended)?;
        if self.sent.get(topic) == Some(&json) {
            return Ok(());
        }
        self.write(format!("event: {event}\ndata: {json}\n\n")).await?;
        self.sent.insert(topic.to_owned(), json);
        Ok(())
    }

    async fn write(&self, text: String) -> Result<(), Ended> {
        match timeout(READ_TIMEOUT, self.events.send(Bytes::from(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended),
        }
    }
}

/// Sends events until the client is gone or the server shuts down.
async fn watch(
    state: Arc<state::State>,
    principal: Arc<Principal>,
    topics: Topics,
    mut subscription: Subscription,
    mut stream: EventStream,
) {
    let mut tasks = Watched { steps: topics.tasks, rows: topics.rows, seen: HashMap::new() };
    let mut jobs = topics.jobs;
    let mut new = topics.new;
    let since = first_id(chrono::Utc::now());
    let mut ticks = interval(SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_stats = Instant::now();
    let mut next_comment = Instant::now() + COMMENT;
    let closed = stream.events.clone();
    loop {
        let result = tokio::select! {
            () = state.shutdown.cancelled() => break,
            () = closed.closed() => break,
            changed = subscription.looks.changed() => {
                if changed.is_err() {
                    break;
                }
                let look = Arc::clone(&subscription.looks.borrow_and_update());
                tasks.send(&look, &principal, &stream).await
            }
            _ = ticks.tick() => {
                let now = Instant::now();
                let stats = now >= next_stats;
                if stats {
                    next_stats = now + STATS;
                }
                if now >= next_comment {
                    next_comment = now + COMMENT;
                    if stream.write(":\n\n".to_owned()).await.is_err() {
                        break;
                    }
                }
                let watched = (stats && topics.stats, stats && topics.workers);
                match look_around(&state, &principal, watched, &mut new, since, &mut jobs, &mut stream).await {
                    Ok(sent) => sent,
                    Err(error) => {
                        tracing::debug!(%error, "cannot read what a page watches");
                        Ok(())
                    }
                }
            }
        };
        if result.is_err() {
            break;
        }
    }
}

/// Sends what is read at intervals. The outer error is the database's.
async fn look_around(
    state: &state::State,
    principal: &Principal,
    (stats, workers): (bool, bool),
    new: &mut [NewTasks],
    since: Uuid,
    jobs: &mut Vec<Uuid>,
    stream: &mut EventStream,
) -> sqlx::Result<Result<(), Ended>> {
    if stats || workers {
        let everything = state.stats.get().await?;
        if stats && stream.send_changed("stats", "stats", &everything.of(principal.namespaces())).await.is_err() {
            return Ok(Err(Ended));
        }
        if workers {
            let list = WorkerList {
                workers: super::workers::visible(everything.workers.clone(), principal),
                next_cursor: None,
            };
            if stream.send_changed("workers", "workers", &list).await.is_err() {
                return Ok(Err(Ended));
            }
        }
    }
    for NewTasks { namespace, full } in new {
        let named = namespace.as_ref().map(std::slice::from_ref);
        let limit = if *full { 1 } else { MAX_NEW };
        let (count, newest) = state.engine.newer_tasks(named.or(principal.namespaces()), since, limit).await?;
        *full |= count == i64::from(MAX_NEW);
        let count = if *full { i64::from(MAX_NEW) } else { count };
        let event = NewTasksEvent { namespace: namespace.clone(), count, newest };
        let topic = format!("new:{}", namespace.as_deref().unwrap_or_default());
        if stream.send_changed(&topic, "new", &event).await.is_err() {
            return Ok(Err(Ended));
        }
    }
    let mut gone = Vec::new();
    for id in jobs.iter().copied() {
        let topic = format!("bulk:{id}");
        let sent = match state.engine.get_bulk_job(id).await? {
            Some(job) if bulk::is_visible(&job, principal) => stream.send_changed(&topic, "bulk", &job.job).await,
            _ => {
                gone.push(id);
                stream.send("gone", &GoneEvent { topic }).await
            }
        };
        if sent.is_err() {
            return Ok(Err(Ended));
        }
    }
    jobs.retain(|id| !gone.contains(id));
    Ok(Ok(()))
}

/// The tasks of a stream, as they were sent.
struct Watched {
    steps: Vec<Uuid>,
    rows: Vec<Uuid>,
    /// By task, and whether its steps were sent.
    seen: HashMap<(Uuid, bool), Arc<Seen>>,
}

impl Watched {
    /// Sends the tasks that have changed.
    async fn send(&mut self, look: &Look, principal: &Principal, stream: &EventStream) -> Result<(), Ended> {
        let topics = self.steps.iter().map(|id| (*id, true)).chain(self.rows.iter().map(|id| (*id, false)));
        let mut gone = Vec::new();
        for (task_id, with_steps) in topics.collect::<Vec<_>>() {
            // Not looked at yet.
            let Some(found) = look.task(task_id) else { continue };
            let Some(now) = found.filter(|now| principal.covers(&now.summary.namespace)) else {
                let kind = if with_steps { "task" } else { "row" };
                stream.send("gone", &GoneEvent { topic: format!("{kind}:{task_id}") }).await?;
                gone.push((task_id, with_steps));
                continue;
            };
            let before = self.seen.get(&(task_id, with_steps));
            if before.is_some_and(|before| Arc::ptr_eq(before, now)) {
                continue;
            }
            if with_steps {
                // The steps come with the next look if nobody watched them before.
                let Some(steps) = &now.steps else { continue };
                let known = before.and_then(|before| before.steps.as_deref());
                let event = TaskEvent { task: now.summary.clone(), steps: changed_steps(known, steps) };
                stream.send("task", &event).await?;
            } else {
                stream.send("row", &RowEvent { task: now.summary.clone() }).await?;
            }
            self.seen.insert((task_id, with_steps), Arc::clone(now));
        }
        self.steps.retain(|id| !gone.contains(&(*id, true)));
        self.rows.retain(|id| !gone.contains(&(*id, false)));
        Ok(())
    }
}

/// The steps that differ from those that were sent, or all of them.
fn changed_steps(known: Option<&[WatchedStep]>, steps: &[WatchedStep]) -> Vec<StepBrief> {
    let known: HashMap<i16, &WatchedStep> = known.unwrap_or_default().iter().map(|step| (step.step_no, step)).collect();
    let changed = steps.iter().filter(|step| known.get(&step.step_no) != Some(step));
    // A state that this server does not know belongs to a newer one. Its step is left out.
    changed
        .filter_map(|step| {
            Some(StepBrief {
                name: step.name.clone(),
                status: step.state.parse().ok()?,
                attempts: step.attempts,
                worker_id: step.worker_id.clone(),
                started_at: step.started_at,
                completed_at: step.completed_at,
                due_at: step.due_at,
                kind: step.kind.clone(),
            })
        })
        .collect()
}
