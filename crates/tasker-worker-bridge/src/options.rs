//! The options of a worker, and the templates that they name.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tasker_runtime::settings::Settings;

use crate::error::{self, Error};

/// The options of a worker. Every option that is none comes from the settings, as in a worker in Rust: from the
/// environment, then from the settings file, then from the defaults. The host can send the options as a JSON object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The names of the handlers, as templates use them in `steps[].handler.callable`.
    pub callables: Vec<String>,
    /// Files with task templates (YAML), and folders of them. The worker stores them and serves their namespaces.
    pub templates: Vec<PathBuf>,
    /// More namespaces to serve.
    pub namespaces: Vec<String>,
    /// The settings file or folder. Otherwise `TASKER_CONFIG_PATH`.
    pub config: Option<PathBuf>,
    /// `postgres://user:password@host:port/database`. Otherwise `DATABASE_URL`.
    pub database_url: Option<String>,
    /// The address of the status API. Otherwise `TASKER_WORKER_HOST`.
    pub host: Option<IpAddr>,
    /// The port of the status API; 0 takes a free one. Otherwise `TASKER_WORKER_PORT`.
    pub port: Option<u16>,
    /// The name of the worker, unique among running workers. Otherwise `TASKER_WORKER_ID`.
    pub worker_id: Option<String>,
    /// How many steps run at once.
    pub max_concurrent: Option<u32>,
    /// How long a step belongs to the worker without a heartbeat, in milliseconds.
    pub lease_ms: Option<u64>,
    /// How long running steps may take to finish at a stop, in milliseconds.
    pub shutdown_timeout_ms: Option<u64>,
    /// Which events of the runtime the host receives: a level, or directives such as `info,tasker_worker=debug`.
    /// Otherwise `RUST_LOG`.
    pub log_filter: Option<String>,
}

impl Options {
    /// Reads options from a JSON object.
    ///
    /// # Errors
    /// When an option is unknown or has the wrong type.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        tasker_api::json::parse(text.as_bytes()).map_err(|error| Error::Options(error::without_place(&error)))
    }

    /// The settings of the worker.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        let mut settings = Settings::load(self.config.as_deref())?;
        let worker = &mut settings.worker;
        set(&mut worker.host, self.host.map_or_else(|| variable("TASKER_WORKER_HOST"), |host| Ok(Some(host)))?);
        set(&mut worker.port, self.port.map_or_else(|| variable("TASKER_WORKER_PORT"), |port| Ok(Some(port)))?);
        set(&mut worker.worker_id, self.worker_id.clone());
        set(&mut worker.max_concurrent, self.max_concurrent);
        set(&mut worker.lease_ms, self.lease_ms);
        set(&mut worker.shutdown_timeout_ms, self.shutdown_timeout_ms);
        set(&mut settings.database.url, self.database_url.clone());
        let filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
        set(&mut settings.logging.filter, self.log_filter.clone().or(filter));
        settings.validate().map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Error::Options(problems.join("; "))
        })?;
        Ok(settings)
    }

    /// The texts of the templates.
    pub(crate) fn template_texts(&self) -> Result<Vec<String>, Error> {
        let mut texts = Vec::new();
        for path in &self.templates {
            if path.is_dir() {
                let files = yaml_files(path).map_err(|source| Error::TemplateFile { path: path.clone(), source })?;
                if files.is_empty() {
                    return Err(Error::NoTemplates(path.clone()));
                }
                for file in files {
                    texts.push(read(&file)?);
                }
            } else {
                texts.push(read(path)?);
            }
        }
        Ok(texts)
    }
}

fn set<T>(setting: &mut T, option: Option<T>) {
    if let Some(option) = option {
        *setting = option;
    }
}

/// Reads an environment variable. An empty one counts as unset.
fn variable<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str) -> Result<Option<T>, Error> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Error::Options(format!("{name} = \"{value}\": {error}"))),
        },
        _ => Ok(None),
    }
}

/// The YAML files of a folder, in the order of their names.
fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::TemplateFile { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_options_are_refused() {
        let options = Options::from_json(r#"{"callables": ["a"], "port": 0}"#).unwrap();
        assert_eq!((options.callables, options.port), (vec!["a".to_owned()], Some(0)));
        let error = Options::from_json(r#"{"callable": ["a"]}"#).unwrap_err().to_string();
        assert!(error.starts_with("the options of the worker are wrong: callable: unknown field"), "{error}");
        let error = Options::from_json(r#"{"host": "localhost"}"#).unwrap_err().to_string();
        assert_eq!(error, "the options of the worker are wrong: host: invalid IP address syntax");
    }

    #[test]
    fn a_folder_has_templates_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { templates: vec![folder.path().to_owned()], ..Options::default() };
        assert!(matches!(options.template_texts(), Err(Error::NoTemplates(_))));
        for (name, text) in [("b.yaml", "second"), ("a.yml", "first"), ("c.txt", "none")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(options.template_texts().unwrap(), ["first", "second"]);
        let missing = Options { templates: vec!["/does/not/exist.yaml".into()], ..Options::default() };
        let error = missing.template_texts().unwrap_err().to_string();
        assert!(error.starts_with("cannot read the task template /does/not/exist.yaml: "), "{error}");
    }
}
