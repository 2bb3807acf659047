//! A cache of templates with their compiled input schemas.
//!
//! A version never changes, so it stays in the cache. The newest version of a template does change. The database
//! checks at every creation that the version is still the newest; if not, [`Templates::forget_newest`] makes the
//! next look-up ask the database.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tasker_engine::{Engine, StoredTemplate};
use tasker_template::InputValidator;

/// Namespace, name, and the version if the request names one.
type Key = (String, String, Option<String>);

/// A stored template with the validator of its inputs.
#[derive(Debug)]
pub(crate) struct CheckedTemplate {
    pub(crate) stored: StoredTemplate,
    pub(crate) validator: Option<InputValidator>,
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the stored input_schema of template {0} cannot be read: {1}")]
    Schema(String, String),
}

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    known: Mutex<HashMap<Key, Arc<CheckedTemplate>>>,
}

impl Templates {
    /// Returns a version of a template, or the newest version.
    pub(crate) async fn get(
        &self,
        engine: &Engine,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<Arc<CheckedTemplate>>, TemplateError> {
        let key = (namespace.to_owned(), name.to_owned(), version.map(str::to_owned));
        if let Some(template) = self.known.lock().get(&key) {
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
        self.known.lock().insert(key, Arc::clone(&template));
        Ok(Some(template))
    }

    /// Forgets which version is the newest.
    pub(crate) fn forget_newest(&self, namespace: &str, name: &str) {
        self.known.lock().remove(&(namespace.to_owned(), name.to_owned(), None));
    }
}
