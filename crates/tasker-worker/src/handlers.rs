//! The handlers of a worker, by their `callable` names.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::context::StepContext;
use crate::error::HandlerResult;

type Running = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// A handler: an async function, type-erased.
#[derive(Clone)]
pub(crate) struct Handler(Arc<dyn Fn(StepContext) -> Running + Send + Sync>);

impl Handler {
    pub(crate) fn new<F, R>(function: F) -> Self
    where
        F: Fn(StepContext) -> R + Send + Sync + 'static,
        R: Future<Output = HandlerResult> + Send + 'static,
    {
        Self(Arc::new(move |context| Box::pin(function(context))))
    }

    pub(crate) async fn run(self, context: StepContext) -> HandlerResult {
        (self.0)(context).await
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

/// Handlers by name.
#[derive(Debug, Default)]
pub(crate) struct Handlers(BTreeMap<String, Handler>);

impl Handlers {
    /// Adds a handler. Returns false if there already is one of that name.
    pub(crate) fn add(&mut self, callable: String, handler: Handler) -> bool {
        self.0.insert(callable, handler).is_none()
    }

    pub(crate) fn get(&self, callable: &str) -> Option<&Handler> {
        self.0.get(callable)
    }

    /// The names in alphabetical order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
