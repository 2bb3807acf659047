//! Building and starting a worker.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::Utc;
use pgmq_notify::insert_channel;
use sqlx::PgPool;
use tasker_engine::database::{self, DatabaseError};
use tasker_engine::{ApplyOutcome, Engine};
use tasker_runtime::settings::{self, environment};
use tasker_template::{TaskTemplate, TemplateErrors};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::context::StepContext;
use crate::error::HandlerResult;
use crate::handlers::{Handler, Handlers};
use crate::heartbeat;
use crate::metrics::Metrics;
use crate::running::Running;
use crate::shared::Shared;
use crate::wake::Wake;
use crate::worker::Worker;

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A template is invalid.
    #[error("a task template of this worker is invalid:\n{0}")]
    Template(#[from] TemplateErrors),
    /// This version of a template is already stored with different content.
    #[error(
        "template {namespace}/{name} {version} is already stored with different content; \
         a stored version never changes, so give the new content a new version"
    )]
    TemplateConflict {
        /// The template's namespace.
        namespace: String,
        /// The template's name.
        name: String,
        /// The template's version.
        version: String,
    },
    /// Two handlers have the same name.
    #[error("two handlers are registered as `{0}`")]
    HandlerTwice(String),
    /// A template of this worker names handlers that the worker does not have.
    #[error(
        "the worker's templates need handlers that it does not have: {}; register them. A worker must have all handlers of \
         the namespaces that it serves, so steps in another language need a template in another namespace",
        .0.join(", ")
    )]
    MissingHandlers(Vec<String>),
    /// The worker has no namespace to serve.
    #[error("the worker serves no namespace; add a template or a namespace, or set TASKER_NAMESPACES")]
    NoNamespace,
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The status API cannot listen on its address.
    #[error("cannot listen on {address}: {source}; choose another address with --port or --host")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

impl From<sqlx::Error> for StartError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Collects the templates, handlers and namespaces of a worker, and starts it.
#[derive(Debug)]
pub struct WorkerBuilder {
    settings: settings::Worker,
    pool: PgPool,
    templates: Vec<String>,
    namespaces: BTreeSet<String>,
    handlers: Handlers,
    registered_twice: Option<String>,
}

impl WorkerBuilder {
    pub(crate) fn new(settings: settings::Worker, pool: PgPool) -> Self {
        Self {
            settings,
            pool,
            templates: Vec::new(),
            namespaces: BTreeSet::new(),
            handlers: Handlers::default(),
            registered_twice: None,
        }
    }

    /// Adds a task template (YAML). [`start`](Self::start) stores it if it is new, and the worker serves its namespace.
    #[must_use]
    pub fn template(mut self, yaml: impl Into<String>) -> Self {
        self.templates.push(yaml.into());
        self
    }

    /// Adds a namespace to serve. Use it if somebody else stores the templates.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespaces.insert(namespace.into());
        self
    }

    /// Adds a handler under the name that templates use in `steps[].handler.callable`.
    #[must_use]
    pub fn handler<F, R>(mut self, callable: impl Into<String>, function: F) -> Self
    where
        F: Fn(StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = HandlerResult> + Send + 'static,
    {
        let callable = callable.into();
        if !self.handlers.add(callable.clone(), Handler::new(function)) {
            self.registered_twice = Some(callable);
        }
        self
    }

    /// Stores the templates, registers the worker, and starts to run steps and to serve the status API.
    ///
    /// If the settings name namespaces, the worker serves only those and stores only their templates.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self) -> Result<Worker, StartError> {
        if let Some(callable) = self.registered_twice {
            return Err(StartError::HandlerTwice(callable));
        }
        let mut templates = Vec::new();
        for yaml in &self.templates {
            templates.push(tasker_template::parse(yaml, None)?.template);
        }
        let namespaces = if self.settings.namespaces.is_empty() {
            let of_templates = templates.iter().map(|template| template.namespace_name.clone());
            self.namespaces.into_iter().chain(of_templates).collect::<BTreeSet<_>>()
        } else {
            self.settings.namespaces.iter().cloned().collect()
        };
        templates.retain(|template| namespaces.contains(&template.namespace_name));
        let namespaces: Vec<_> = namespaces.into_iter().collect();
        if namespaces.is_empty() {
            return Err(StartError::NoNamespace);
        }
        let missing = missing_handlers(&templates, &self.handlers);
        if !missing.is_empty() {
            return Err(StartError::MissingHandlers(missing));
        }

        database::require_schema(&self.pool).await?;
        let wanted = self.settings.address();
        let bind = |source| StartError::Bind { address: wanted, source };
        let status_listener = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = status_listener.local_addr().map_err(bind)?;

        let engine = Engine::new(self.pool.clone());
        for template in &templates {
            apply(&engine, template).await?;
        }
        warn_of_missing_handlers(&engine, &namespaces, &self.handlers).await?;
        let queues = engine.ensure_namespaces(&namespaces).await?;
        let channels = queues.into_iter().map(|(namespace, queue)| (insert_channel(&queue), namespace)).collect();

        let host = host_name();
        let worker_id = match self.settings.worker_id.as_str() {
            "" => format!("{host}-{:08x}", Uuid::new_v4().as_fields().0),
            name => name.to_owned(),
        };
        let (finished, results) = mpsc::unbounded_channel();
        // The settings allow far fewer than the permits that a semaphore can hold.
        let slots = usize::try_from(self.settings.max_concurrent).unwrap_or(1).max(1);
        let shared = Arc::new(Shared {
            engine,
            worker_id,
            host,
            namespaces,
            started_at: Utc::now(),
            handlers: self.handlers,
            slots: Arc::new(Semaphore::new(slots)),
            running: Running::default(),
            finished,
            wake: Wake::default(),
            metrics: Metrics::new(),
            draining: CancellationToken::new(),
            release: CancellationToken::new(),
            ended: CancellationToken::new(),
            settings: self.settings,
        });
        heartbeat::send(&shared).await?;
        Ok(Worker::run(shared, results, channels, status_listener, address))
    }
}

async fn apply(engine: &Engine, template: &TaskTemplate) -> Result<(), StartError> {
    match engine.apply_template(template, &environment()).await? {
        ApplyOutcome::Created | ApplyOutcome::Unchanged => Ok(()),
        ApplyOutcome::Conflict => Err(StartError::TemplateConflict {
            namespace: template.namespace_name.clone(),
            name: template.name.clone(),
            version: template.version.to_string(),
        }),
    }
}

/// The steps of these templates that no handler runs. A step that runs a child task needs none.
fn missing_handlers(templates: &[TaskTemplate], handlers: &Handlers) -> Vec<String> {
    let steps = templates.iter().flat_map(|template| template.steps.iter().map(move |step| (&template.name, step)));
    let missing = steps.filter(|(_, step)| step.task.is_none() && handlers.get(step.callable()).is_none());
    missing.map(|(template, step)| format!("`{}` (step {} of {template})", step.callable(), step.name)).collect()
}

/// Warns of stored templates in these namespaces that need other handlers. The worker starts anyway: a new version of a
/// template may be stored before its workers are replaced.
async fn warn_of_missing_handlers(engine: &Engine, namespaces: &[String], handlers: &Handlers) -> sqlx::Result<()> {
    let known: Vec<_> = handlers.names().collect();
    let missing = engine.other_callables(namespaces, &known).await?;
    if !missing.is_empty() {
        tracing::warn!(
            callables = missing.join(", "),
            "stored templates of this worker's namespaces need handlers that it does not have; attempts of their steps \
             by this worker fail"
        );
    }
    Ok(())
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}
