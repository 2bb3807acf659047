//! A worker whose handlers are in another language.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tasker_engine::database;
use tasker_runtime::telemetry;
use tasker_worker::Worker;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::calls::{Calls, Event};
use crate::error::Error;
use crate::logs::{self, Waiting};
use crate::options::Options;

/// The threads of the runtime. They move data; the handlers run in the host.
const THREADS: usize = 2;

/// A running worker whose handlers are in another language. All methods can be called from any thread.
///
/// Call [`stop`](Self::stop) at the end. A bridge that is dropped ends at once, as in a crash. In a process that was
/// forked after the start, every method fails, and dropping the bridge does nothing.
#[derive(Debug)]
pub struct Bridge {
    inner: Arc<Inner>,
    /// The process that started the worker.
    process: u32,
}

#[derive(Debug)]
struct Inner {
    /// None once it is being dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    /// None once it is being stopped.
    worker: Mutex<Option<Worker>>,
    worker_id: String,
    url: String,
    max_concurrent: u32,
    calls: Arc<Calls>,
    events: AsyncMutex<mpsc::UnboundedReceiver<Event>>,
    interrupt: Notify,
    waiting_logs: Waiting,
    stopped: CancellationToken,
}

impl Bridge {
    /// Starts a worker, and blocks until it runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(options: Options) -> Result<Self, Error> {
        let settings = options.settings()?;
        let templates = options.template_texts()?;
        let (sender, events) = mpsc::unbounded_channel();
        let waiting_logs = Waiting::default();
        let dispatch = logs::dispatch(&settings.logging.filter, sender.clone(), Arc::clone(&waiting_logs))?;
        let of_threads = dispatch.clone();
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("tasker")
            .enable_all()
            // Each worker of a process sends its log to its own host.
            .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&of_threads)))
            .build()
            .map_err(Error::Threads)?;
        let calls = Arc::new(Calls::new(sender));
        let max_concurrent = settings.worker.max_concurrent;
        let starting = async {
            telemetry::start(&settings.telemetry, "tasker-worker")?;
            let pool = database::connect(&settings.database, "tasker-worker").await?;
            let mut builder = Worker::builder(settings.worker, pool);
            for template in templates {
                builder = builder.template(template);
            }
            for namespace in options.namespaces {
                builder = builder.namespace(namespace);
            }
            for callable in options.callables {
                let calls = Arc::clone(&calls);
                builder = builder.handler(callable, move |context| {
                    let calls = Arc::clone(&calls);
                    async move { calls.run(context).await }
                });
            }
            Ok::<_, Error>(builder.start().await?)
        };
        let worker = tracing::dispatcher::with_default(&dispatch, || runtime.block_on(starting))?;
        let inner = Inner {
            worker_id: worker.worker_id().to_owned(),
            url: worker.url(),
            max_concurrent,
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            worker: Mutex::new(Some(worker)),
            calls,
            events: AsyncMutex::new(events),
            interrupt: Notify::new(),
            waiting_logs,
            stopped: CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner), process: std::process::id() })
    }

    /// The name under which the worker is registered.
    pub fn worker_id(&self) -> &str {
        &self.inner.worker_id
    }

    /// How many steps run at once.
    pub fn max_concurrent(&self) -> u32 {
        self.inner.max_concurrent
    }

    /// The URL of the status API, without a path.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Blocks until there are events, and returns up to `max` of them. Returns none at the end: the worker has stopped
    /// and all events were returned. Returns an empty list if [`interrupt`](Self::interrupt) was called.
    ///
    /// Release the lock of the interpreter before this call. One thread at a time receives events; others wait.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn next(&self, max: usize) -> Result<Option<Vec<Event>>, Error> {
        let inner = self.inner()?;
        Ok(inner.handle.block_on(inner.next(max)))
    }

    /// Does what [`next`](Self::next) does without blocking the thread. It works on every async runtime.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub async fn next_async(&self, max: usize) -> Result<Option<Vec<Event>>, Error> {
        Ok(self.inner()?.next(max).await)
    }

    /// Makes a waiting [`next`](Self::next), or else the following one, return at once.
    pub fn interrupt(&self) {
        if let Ok(inner) = self.inner() {
            inner.interrupt.notify_one();
        }
    }

    /// Returns the outcome of a step: `{"result": ...}`, or `{"error": {"kind": ..., "message": ..., "permanent": true
    /// or false, "retry_after_ms": number or null}}`, of which the last two can be missing, or `{"wait": {"delay_ms": ...,
    /// "signal": ..., "checkpoint": ...}}`, of which each can be missing. It does not block: the result is recorded later, however long that takes. A result that cannot be stored fails its step with a
    /// permanent error of kind `bad_result`.
    ///
    /// Call it for cancelled steps too, when their handlers have ended: only then their slots are free. Returns false
    /// if there is no such step, because it was completed before.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn complete(&self, id: u64, outcome: &str) -> Result<bool, Error> {
        Ok(self.inner()?.calls.complete(id, outcome))
    }

    /// Stops the worker gracefully, and blocks until that is done. The worker claims no more steps. Running steps may
    /// finish within the shutdown timeout. Then they are cancelled and released: other workers start them at once, and
    /// the attempt does not count. Keep calling [`next`](Self::next) and [`complete`](Self::complete) meanwhile.
    ///
    /// This takes at most the shutdown timeout plus six seconds. A second call waits for the first one.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn stop(&self) -> Result<(), Error> {
        let inner = self.inner()?;
        inner.handle.block_on(inner.stop());
        Ok(())
    }

    /// Does what [`stop`](Self::stop) does without blocking the thread.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub async fn stop_async(&self) -> Result<(), Error> {
        self.inner()?.stop().await;
        Ok(())
    }

    fn inner(&self) -> Result<&Inner, Error> {
        match std::process::id() {
            child if child != self.process => Err(Error::Forked { parent: self.process, child }),
            _ => Ok(&self.inner),
        }
    }
}

impl Inner {
    async fn next(&self, max: usize) -> Option<Vec<Event>> {
        let mut batch = Vec::new();
        let mut events = self.events.lock().await;
        tokio::select! {
            biased;
            _ = events.recv_many(&mut batch, max.max(1)) => {}
            () = self.interrupt.notified() => return Some(batch),
            () = self.stopped.cancelled() => return None,
        }
        let logs = batch.iter().filter(|event| matches!(event, Event::Log { .. })).count();
        self.waiting_logs.fetch_sub(logs, Ordering::Relaxed);
        Some(batch)
    }

    async fn stop(&self) {
        let worker = self.worker.lock().take();
        if let Some(worker) = worker {
            self.calls.send(Event::Stopping);
            let stopped = self.stopped.clone();
            // A task of its own, so that it ends even if the caller does not wait.
            self.handle.spawn(async move {
                worker.stop().await;
                telemetry::flush().await;
                stopped.cancel();
            });
        }
        self.stopped.cancelled().await;
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // A forked process lacks the threads of the runtime, so it must never drop it.
            std::mem::forget(Arc::clone(&self.inner));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
