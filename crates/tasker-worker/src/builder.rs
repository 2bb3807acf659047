//! Building and starting a worker.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::Utc;
use sqlx::PgPool;
use tasker_engine::database::{self, DatabaseError};
use tasker_engine::{ApplyOutcome, Engine};
use tasker_runtime::settings;
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
use crate::queues;
use crate::running::Running;
use crate::shared::Shared;
use crate::wake::Wake;
use crate::worker::Worker;

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A template is not valid.
    #[error("a task template of this worker is not valid:\n{0}")]
    Template(#[from] TemplateErrors),
    /// A template's version is stored with other content.
    #[error(
        "template {namespace}/{name} {version} is stored in the database with other content; \
         a stored version never changes: give the new content a new version"
    )]
    TemplateConflict {
        /// The template's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// Two handlers have the same name.
    #[error("two handlers are registered as `{0}`")]
    HandlerTwice(String),
    /// There is nothing to serve.
    #[error("the worker serves no namespace: give it a template or a namespace, or set TASKER_NAMESPACES")]
    NoNamespace,
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The address of the status API cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --port or --host")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What happened.
        source: std::io::Error,
    },
}

impl From<sqlx::Error> for StartError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A worker to be started: its templates, handlers and namespaces.
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

    /// Adds a task template (YAML). The start stores it, unless it is stored already, and the worker serves its namespace.
    #[must_use]
    pub fn template(mut self, yaml: impl Into<String>) -> Self {
        self.templates.push(yaml.into());
        self
    }

    /// Adds a namespace to serve, for templates that come from elsewhere.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespaces.insert(namespace.into());
        self
    }

    /// Adds a handler under the name that templates use: `steps[].handler.callable`.
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

    /// Stores the templates, registers the worker, and starts to run steps and to answer at the status API.
    ///
    /// If the settings name namespaces, only those are served, and only their templates are stored.
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
        warn_of_missing_handlers(&templates, &self.handlers);

        database::require_schema(&self.pool).await?;
        let wanted = SocketAddr::new(self.settings.host, self.settings.port);
        let bind = |source| StartError::Bind { address: wanted, source };
        let status_listener = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = status_listener.local_addr().map_err(bind)?;

        let engine = Engine::new(self.pool.clone());
        for template in &templates {
            apply(&engine, template).await?;
        }
        let channels = queues::ensure(&self.pool, &namespaces).await?;

        let host = host_name();
        let worker_id = match self.settings.worker_id.as_str() {
            "" => format!("{host}-{:08x}", Uuid::new_v4().as_fields().0),
            name => name.to_owned(),
        };
        let (finished, results) = mpsc::unbounded_channel();
        // A semaphore has room for far more than the settings allow.
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
            hand_back: CancellationToken::new(),
            ended: CancellationToken::new(),
            settings: self.settings,
        });
        heartbeat::beat(&shared).await?;
        Ok(Worker::run(shared, results, channels, status_listener, address))
    }
}

async fn apply(engine: &Engine, template: &TaskTemplate) -> Result<(), StartError> {
    match engine.apply_template(template).await? {
        ApplyOutcome::Created | ApplyOutcome::Unchanged => Ok(()),
        ApplyOutcome::Conflict => Err(StartError::TemplateConflict {
            namespace: template.namespace_name.clone(),
            name: template.name.clone(),
            version: template.version.to_string(),
        }),
    }
}

fn warn_of_missing_handlers(templates: &[TaskTemplate], handlers: &Handlers) {
    for template in templates {
        for step in &template.steps {
            let callable = step.handler.callable.as_str();
            if handlers.get(callable).is_none() {
                tracing::warn!(
                    template = template.name,
                    step = step.name,
                    callable,
                    "the worker serves a template but not this handler of it"
                );
            }
        }
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}
