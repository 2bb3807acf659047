//! Merges the settings files of a folder such as `config/tasker`. For each context it reads `base/CONTEXT.toml`,
//! and then, if it exists, `environments/ENVIRONMENT/CONTEXT.toml`, whose values override those of the base file.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::files::read_toml;
use super::{Settings, SettingsError};

/// Settings merged from several files.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The merged settings as TOML.
    pub toml: String,
    /// The same settings, checked, with the default for everything that the files leave out.
    pub settings: Settings,
}

/// Returns the contexts of the folder, sorted. They are the names of its base files.
///
/// # Errors
/// When the folder `base` does not exist.
pub fn contexts(folder: &Path) -> Result<Vec<String>, SettingsError> {
    let mut names = entries(&folder.join("base"))?;
    names.retain_mut(|name| match name.strip_suffix(".toml") {
        Some(stem) => {
            *name = stem.to_owned();
            true
        }
        None => false,
    });
    Ok(names)
}

/// Returns the environments of the folder, sorted.
///
/// # Errors
/// When the folder `environments` does not exist.
pub fn environments(folder: &Path) -> Result<Vec<String>, SettingsError> {
    let environments = folder.join("environments");
    let mut names = entries(&environments)?;
    names.retain(|name| environments.join(name).is_dir());
    Ok(names)
}

/// Merges the files of the `contexts` for the `environment` and checks the result.
///
/// # Errors
/// When a context or the environment does not exist, a file cannot be read, or a setting is unknown or not allowed.
pub fn build<C: AsRef<str>>(folder: &Path, contexts: &[C], environment: &str) -> Result<Built, SettingsError> {
    let known = self::contexts(folder)?;
    let environments = self::environments(folder)?;
    let overlays = folder.join("environments").join(environment);
    if !environments.iter().any(|name| name == environment) {
        let folder = folder.join("environments");
        return Err(SettingsError::UnknownEnvironment { given: environment.to_owned(), folder, known: environments });
    }
    let mut merged = Table::new();
    for context in contexts.iter().map(AsRef::as_ref) {
        if !known.iter().any(|name| name == context) {
            let folder = folder.join("base");
            return Err(SettingsError::UnknownContext { given: context.to_owned(), folder, known });
        }
        let file = format!("{context}.toml");
        let (base, overlay) = (folder.join("base").join(&file), overlays.join(&file));
        merge(&mut merged, read_checked(&base)?);
        if overlay.exists() {
            merge(&mut merged, read_checked(&overlay)?);
        }
    }
    let origin = format!("{} for environment '{environment}'", folder.display());
    let toml = merged.to_string();
    // Every single file was valid, so this fails only for a contradiction between files.
    let settings: Settings = merged.try_into().map_err(|error: toml::de::Error| SettingsError::Malformed {
        path: folder.to_owned(),
        line: 1,
        column: 1,
        message: error.message().to_owned(),
    })?;
    settings.validate().map_err(|problems| SettingsError::Invalid { origin, problems })?;
    Ok(Built { toml, settings })
}

/// Reads a file as settings first, so that an error names the file and the line.
fn read_checked(path: &Path) -> Result<Table, SettingsError> {
    read_toml::<Settings>(path)?;
    read_toml(path)
}

/// Merges `over` into `table`. Tables are merged, other values are replaced.
fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Returns the names of the entries of a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<String>, SettingsError> {
    let unreadable = |source| SettingsError::Unreadable { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The settings of this repository.
    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/tasker")
    }

    #[test]
    fn the_base_files_are_the_defaults() {
        let folder = repository();
        let mut base = Table::new();
        for context in contexts(&folder).unwrap() {
            merge(&mut base, read_toml(&folder.join("base").join(format!("{context}.toml"))).unwrap());
        }
        assert_eq!(base, Table::try_from(Settings::default()).unwrap());
    }

    #[test]
    fn every_environment_of_the_repository_is_valid() {
        let folder = repository();
        assert_eq!(environments(&folder).unwrap(), ["development", "production", "test"]);
        for environment in environments(&folder).unwrap() {
            let built = build(&folder, &contexts(&folder).unwrap(), &environment).unwrap();
            assert_eq!(toml::from_str::<Settings>(&built.toml).unwrap(), built.settings);
        }
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn an_overlay_overrides_single_settings_and_may_be_missing() {
        let folder = folder(&[
            ("base/common.toml", "[database]\nmax_connections = 7\nacquire_timeout_ms = 500"),
            ("base/worker.toml", "[worker]\nnamespaces = ['a', 'b']"),
            ("environments/test/common.toml", "[database]\nmax_connections = 3"),
            ("environments/other/worker.toml", "[worker]\nnamespaces = ['c']"),
        ]);
        let test = build(folder.path(), &["common", "worker"], "test").unwrap();
        assert_eq!(test.settings.database.max_connections, 3);
        assert_eq!(test.settings.database.acquire_timeout_ms, 500);
        assert_eq!(test.settings.worker.namespaces, ["a", "b"]);
        let other = build(folder.path(), &["worker"], "other").unwrap();
        assert_eq!(other.toml, "[worker]\nnamespaces = [\"c\"]\n");
        assert_eq!(other.settings.database.max_connections, Settings::default().database.max_connections);
    }

    #[test]
    fn unknown_names_are_refused_with_a_list_of_the_known_ones() {
        let folder = folder(&[("base/common.toml", ""), ("environments/test/common.toml", "")]);
        let error = build(folder.path(), &["orchestration"], "test").unwrap_err().to_string();
        assert!(error.starts_with("there is no context 'orchestration' in "), "{error}");
        assert!(error.ends_with("/base; the contexts are common"), "{error}");
        let error = build(folder.path(), &["common"], "prod").unwrap_err().to_string();
        assert!(error.starts_with("there is no environment 'prod' in "), "{error}");
        assert!(error.ends_with("/environments; the environments are test"), "{error}");
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let folder = folder(&[
            ("base/common.toml", "[database]\nmax_connections = 7"),
            ("environments/test/common.toml", "[database]\n\nmax_conections = 3"),
            ("environments/low/common.toml", "[database]\nmax_connections = 1"),
        ]);
        let error = build(folder.path(), &["common"], "test").unwrap_err().to_string();
        assert!(error.contains("environments/test/common.toml:3:1: unknown field `max_conections`"), "{error}");
        let error = build(folder.path(), &["common"], "low").unwrap_err().to_string();
        assert!(
            error.ends_with("for environment 'low' are not valid: database.max_connections = 1, but must be 2 to 100"),
            "{error}"
        );
    }
}
