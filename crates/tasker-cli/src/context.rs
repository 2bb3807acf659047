//! Options of all commands: the server, the worker, the key and the output format.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use clap::Args;
use serde::Deserialize;
use tasker_client::{OrchestrationClient, WorkerClient};

use crate::failure::Failure;

const ORCHESTRATION_URL: &str = "http://127.0.0.1:8080";
const WORKER_URL: &str = "http://127.0.0.1:8081";

/// Options of all commands. Flags override the environment, which overrides `~/.tasker/config.toml`.
#[derive(Debug, Args)]
pub(crate) struct Context {
    /// The server's address [default: http://127.0.0.1:8080].
    #[arg(long, global = true, env = "TASKER_ORCHESTRATION_URL")]
    url: Option<String>,
    /// The worker's address [default: http://127.0.0.1:8081].
    #[arg(long, global = true, env = "TASKER_WORKER_URL")]
    worker_url: Option<String>,
    /// The API key or token for the server. Prefer the environment or the file: other users can see arguments.
    #[arg(long, global = true, env = "TASKER_API_KEY", hide_env_values = true)]
    api_key: Option<Secret>,
    /// Print JSON as the API returns it, instead of tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// A text that `Debug` does not show.
#[derive(Clone, Deserialize)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// `~/.tasker/config.toml`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    orchestration_url: Option<String>,
    worker_url: Option<String>,
    api_key: Option<Secret>,
}

impl Context {
    /// A client for the server.
    pub(crate) fn orchestration(&self) -> Result<OrchestrationClient, Failure> {
        let url = choose(self.url.as_deref(), || Ok(File::read()?.orchestration_url))?;
        let client = OrchestrationClient::new(url.as_deref().unwrap_or(ORCHESTRATION_URL))?;
        let given = self.api_key.as_ref().map(|Secret(key)| key.as_str());
        match choose(given, || Ok(File::read()?.api_key.map(|Secret(key)| key)))? {
            Some(key) => Ok(client.with_api_key(&key)?),
            None => Ok(client),
        }
    }

    /// A client for the worker, and its address.
    pub(crate) fn worker(&self) -> Result<(WorkerClient, String), Failure> {
        let url = self.named_worker_url()?.unwrap_or_else(|| WORKER_URL.to_owned());
        Ok((WorkerClient::new(&url)?, url))
    }

    /// The worker's address, unless it is the default.
    pub(crate) fn named_worker_url(&self) -> Result<Option<String>, Failure> {
        choose(self.worker_url.as_deref(), || Ok(File::read()?.worker_url))
    }
}

/// The value of the flag or the environment, otherwise of the file. An empty variable counts as unset.
fn choose(
    given: Option<&str>,
    file: impl FnOnce() -> Result<Option<String>, Failure>,
) -> Result<Option<String>, Failure> {
    match given {
        Some(given) if !given.is_empty() => Ok(Some(given.to_owned())),
        _ => file(),
    }
}

impl File {
    fn read() -> Result<Self, Failure> {
        match std::env::home_dir() {
            Some(home) => Self::read_from(&home.join(".tasker/config.toml")),
            None => Ok(Self::default()),
        }
    }

    fn read_from(path: &Path) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        };
        toml::from_str(&text).map_err(|error| {
            let (line, column) = tasker_api::line_and_column(&text, error.span().map_or(0, |span| span.start));
            Failure::usage(format!("{}:{line}:{column}: {}", path.display(), error.message()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_value_overrides_the_file_unless_it_is_empty() {
        let file = || Ok(Some("file".to_owned()));
        assert_eq!(choose(Some("given"), file).unwrap().as_deref(), Some("given"));
        assert_eq!(choose(Some(""), file).unwrap().as_deref(), Some("file"));
        assert_eq!(choose(None, file).unwrap().as_deref(), Some("file"));
    }

    #[test]
    fn the_file_may_be_missing_but_not_malformed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(File::read_from(&path).unwrap().worker_url, None);
        std::fs::write(&path, "worker_url = 'http://w'\n").unwrap();
        assert_eq!(File::read_from(&path).unwrap().worker_url.as_deref(), Some("http://w"));
        std::fs::write(&path, "worker_url = 'http://w'\nurl = 'http://o'\n").unwrap();
        let message = File::read_from(&path).unwrap_err().message().to_owned();
        assert!(
            message.ends_with(
                "config.toml:2:1: unknown field `url`, expected one of `orchestration_url`, `worker_url`, `api_key`"
            ),
            "{message}"
        );
    }
}
