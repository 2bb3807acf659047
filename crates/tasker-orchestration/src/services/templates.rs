//! Templates with their compiled input schemas, kept in memory.
//!
//! A version never changes, so it is kept for ever. Which version is the newest may change: the database checks that at every
//! creation, and [`Templates::forget_newest`] makes the next look-up ask again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tasker_engine::{Engine, StoredTemplate};
use tasker_template::InputValidator;

/// Namespace, name, and the version if one was named.
type Key = (String, String, Option<String>);

/// A stored template, ready to check inputs.
#[derive(Debug)]
pub(crate) struct CheckedTemplate {
    pub(crate) stored: StoredTemplate,
    pub(crate) validator: Option<InputValidator>,
}

/// Why a template cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the stored input_schema of template {0} cannot be read: {1}")]
    Schema(String, String),
}

/// The templates that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    known: Mutex<HashMap<Key, Arc<CheckedTemplate>>>,
}

impl Templates {
    /// A version of a template, or the newest one.
    pub(crate) async fn get(
        &self,
        engine: &Engine,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<Arc<CheckedTemplate>>, TemplateError> {
        let key = (namespace.to_owned(), name.to_owned(), version.map(str::to_owned));
        if let Some(template) = self.lock().get(&key) {
            return Ok(Some(Arc::clone(template)));
        }
        let Some(stored) = engine.find_template(namespace, name, version).await? else { return Ok(None) };
        let validator = stored
            .input_schema
            .as_ref()
            .map(InputValidator::new)
            .transpose()
            .map_err(|error| TemplateError::Schema(name.to_owned(), error.to_string()))?;
        let template = Arc::new(CheckedTemplate { stored, validator });
        self.lock().insert(key, Arc::clone(&template));
        Ok(Some(template))
    }

    /// Forgets which version is the newest.
    pub(crate) fn forget_newest(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned(), None));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<CheckedTemplate>>> {
        // A panic while it was held cannot have left half an entry.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
