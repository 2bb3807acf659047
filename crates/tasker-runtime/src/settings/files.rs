//! The settings of a process: from a file and from the environment.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{Built, Settings, SettingsError, build, contexts};

/// The environment whose overlays apply if `TASKER_ENV` is not set.
const DEFAULT_ENVIRONMENT: &str = "development";

/// The environment of the process: `TASKER_ENV`, and `development` if it is not set or empty. It decides which overlays
/// of the settings and which `environments` of templates apply.
pub fn environment() -> String {
    environment_of(|name| std::env::var(name).ok())
}

fn environment_of(variable: impl Fn(&str) -> Option<String>) -> String {
    variable("TASKER_ENV").filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned())
}

impl Settings {
    /// Loads and checks the settings of a process. Later sources override earlier ones:
    ///
    /// 1. the defaults;
    /// 2. the file `path`, or the file that `TASKER_CONFIG_PATH` names. If it is a folder, it is read like
    ///    `config/tasker`: base files, and the overlays of the environment that `TASKER_ENV` names (`development`
    ///    if unset);
    /// 3. the environment: `DATABASE_URL`, `TASKER_WORKER_ID`, `TASKER_NAMESPACES` (comma-separated),
    ///    `API_KEY`, `API_KEY_FILE`, `JWT_PUBLIC_KEY`, `JWT_PUBLIC_KEY_FILE`, `OTEL_EXPORTER_OTLP_ENDPOINT`.
    ///
    /// An empty variable counts as unset.
    ///
    /// # Errors
    /// When a file cannot be read, or a setting is unknown or not allowed.
    pub fn load(path: Option<&Path>) -> Result<Self, SettingsError> {
        Self::load_with(path, |name| std::env::var(name).ok())
    }

    /// Does what [`Settings::load`] does, with other environment variables than those of the process.
    fn load_with(path: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = path.map(Path::to_owned).or_else(|| variable("TASKER_CONFIG_PATH").map(PathBuf::from));
        let mut settings = match &path {
            None => Self::default(),
            Some(folder) if folder.is_dir() => {
                let Built { settings, .. } = build(folder, &contexts(folder)?, &environment_of(variable))?;
                settings
            }
            Some(file) => Self::from_file(file)?,
        };
        if let Some(url) = variable("DATABASE_URL") {
            settings.database.url = url;
        }
        if let Some(worker_id) = variable("TASKER_WORKER_ID") {
            settings.worker.worker_id = worker_id;
        }
        if let Some(namespaces) = variable("TASKER_NAMESPACES") {
            settings.worker.namespaces =
                namespaces.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        }
        if let Some(endpoint) = variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
            settings.telemetry.otlp_endpoint = endpoint;
        }
        settings.orchestration.access.override_from(variable)?;
        let file = path.map_or_else(|| "the defaults".to_owned(), |path| path.display().to_string());
        settings
            .validate()
            .map_err(|problems| SettingsError::Invalid { origin: format!("{file} and the environment"), problems })?;
        Ok(settings)
    }

    /// Reads one TOML file, with the default for everything that it leaves out. It does not check the values; see
    /// [`Settings::validate`].
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or has an unknown setting.
    pub fn from_file(path: &Path) -> Result<Self, SettingsError> {
        read_toml(path)
    }
}

/// Reads a TOML file.
pub(super) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    let text =
        fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        let (line, column) = tasker_api::line_and_column(&text, error.span().map_or(0, |span| span.start));
        SettingsError::Malformed { path: path.to_owned(), line, column, message: error.message().to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn failure(text: &str) -> String {
        let file = file(text);
        let error = Settings::load_with(Some(file.path()), none).unwrap_err().to_string();
        error.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn without_file_and_environment_the_defaults_apply() {
        assert_eq!(Settings::load_with(None, none).unwrap(), Settings::default());
    }

    #[test]
    fn a_file_overrides_defaults_and_the_environment_overrides_the_file() {
        let file = file(
            "[database]\nurl = 'postgres://file/tasker'\n[worker]\nworker_id = 'from-file'\nnamespaces = ['a']\nport = 9",
        );
        let settings = Settings::load_with(Some(file.path()), none).unwrap();
        assert_eq!(settings.database.url, "postgres://file/tasker");
        assert_eq!(settings.worker.worker_id, "from-file");
        assert_eq!(settings.worker.port, 9);
        assert_eq!(settings.orchestration, Settings::default().orchestration);

        let settings = Settings::load_with(Some(file.path()), |name| match name {
            "DATABASE_URL" => Some("postgresql://env/tasker".to_owned()),
            "TASKER_WORKER_ID" => Some("from-env".to_owned()),
            "TASKER_NAMESPACES" => Some("b, c,".to_owned()),
            _ => None,
        })
        .unwrap();
        assert_eq!(settings.database.url, "postgresql://env/tasker");
        assert_eq!(settings.worker.worker_id, "from-env");
        assert_eq!(settings.worker.namespaces, ["b", "c"]);
        assert_eq!(settings.worker.port, 9);
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let file = file("[worker]\nworker_id = 'from-file'");
        let settings = Settings::load_with(Some(file.path()), |_| Some(String::new())).unwrap();
        assert_eq!(settings.worker.worker_id, "from-file");
    }

    #[test]
    fn the_path_of_the_caller_overrides_that_of_the_environment() {
        let (one, two) = (file("[worker]\nport = 1"), file("[worker]\nport = 2"));
        let variable = |name: &str| (name == "TASKER_CONFIG_PATH").then(|| two.path().display().to_string());
        assert_eq!(Settings::load_with(None, variable).unwrap().worker.port, 2);
        assert_eq!(Settings::load_with(Some(one.path()), variable).unwrap().worker.port, 1);
    }

    #[test]
    fn a_folder_is_merged_for_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("base")).unwrap();
        fs::write(folder.path().join("base/worker.toml"), "[worker]\nport = 1").unwrap();
        for (environment, port) in [("development", 2), ("test", 3)] {
            let overlay = folder.path().join("environments").join(environment);
            fs::create_dir_all(&overlay).unwrap();
            fs::write(overlay.join("worker.toml"), format!("[worker]\nport = {port}")).unwrap();
        }
        assert_eq!(Settings::load_with(Some(folder.path()), none).unwrap().worker.port, 2);
        let test = |name: &str| (name == "TASKER_ENV").then(|| "test".to_owned());
        assert_eq!(Settings::load_with(Some(folder.path()), test).unwrap().worker.port, 3);
    }

    #[test]
    fn an_error_names_the_unknown_setting_and_its_place() {
        let error = failure("[worker]\nport = 1\nmax_concurent = 5\n");
        assert!(error.starts_with("FILE:3:1: unknown field `max_concurent`, expected one of `host`"), "{error}");
        let error = failure("[wroker]\n");
        assert!(error.starts_with("FILE:1:2: unknown field `wroker`"), "{error}");
    }

    #[test]
    fn an_error_names_the_value_of_another_type_and_its_place() {
        let error = failure("[worker]\n  port = 'many'\n");
        assert_eq!(error, "FILE:2:10: invalid type: string \"many\", expected u16");
        let error = failure("[worker]\nport = 70000\n");
        assert!(error.starts_with("FILE:2:8: invalid value"), "{error}");
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_place() {
        let error = failure("[worker\n");
        assert!(error.starts_with("FILE:1:8: "), "{error}");
    }

    #[test]
    fn an_error_lists_all_values_out_of_range() {
        let error = failure("[worker]\nlease_ms = 5\nmax_concurrent = 0\n");
        assert_eq!(
            error,
            "the settings of FILE and the environment are not valid: worker.max_concurrent = 0, but must be 1 to 10000; \
             worker.lease_ms = 5, but must be 1000 to 3600000"
        );
    }

    #[test]
    fn an_error_names_the_missing_file() {
        let error = Settings::load_with(Some(Path::new("/nowhere/tasker.toml")), none).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the settings /nowhere/tasker.toml: "), "{error}");
    }
}
