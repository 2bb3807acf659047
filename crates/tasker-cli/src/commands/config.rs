//! `tasker-cli config`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tasker_runtime::settings::{self, Settings, SettingsError};

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Merge the base settings with those of an environment, and check the result.
    Build(Build),
    /// Check a settings file, or a folder of base settings and environments; exit code 2 if it is invalid.
    Validate {
        /// A settings file, or a folder.
        #[arg(default_value = FOLDER)]
        path: PathBuf,
        /// Check only this environment of the folder [default: all].
        #[arg(long, env = "TASKER_ENV")]
        environment: Option<String>,
    },
    /// Show the settings that a server or worker started here would use, without passwords.
    Show {
        /// A settings file, or a folder of base settings and environments [default: TASKER_CONFIG_PATH].
        path: Option<PathBuf>,
    },
}

/// The folder of a project's settings.
const FOLDER: &str = "config/tasker";

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The name of a base file, such as common, orchestration or worker; may be repeated [default: all].
    #[arg(long = "context", value_name = "CONTEXT")]
    contexts: Vec<String>,
    /// The environment, such as development, test or production.
    #[arg(long, env = "TASKER_ENV", default_value = "development")]
    environment: String,
    /// The file to write [default: standard output].
    #[arg(long)]
    output: Option<PathBuf>,
    /// The folder of `base` and `environments`.
    #[arg(long, default_value = FOLDER)]
    folder: PathBuf,
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Build(build) => build.run(),
            Self::Validate { path, environment } => validate(context, &path, environment),
            Self::Show { path } => {
                let mut settings = Settings::load(path.as_deref())?;
                settings.database.url = settings::without_password(&settings.database.url);
                if context.json {
                    return output::print_json(&settings);
                }
                output::print(toml::to_string(&settings).map_err(Failure::failed)?.trim_end())
            }
        }
    }
}

impl Build {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self { contexts, environment, output, folder } = self;
        let contexts = if contexts.is_empty() { settings::contexts(&folder)? } else { contexts };
        let built = settings::build(&folder, &contexts, &environment)?;
        let head = format!(
            "# Built from {}: contexts {}; environment {environment}.\n\n",
            folder.display(),
            contexts.join(", ")
        );
        let text = head + built.toml.trim_end();
        match output {
            None => output::print(text),
            Some(file) => std::fs::write(&file, text + "\n")
                .map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display()))),
        }
    }
}

fn validate(context: &Context, path: &Path, environment: Option<String>) -> Result<(), Failure> {
    let mut valid = Vec::new();
    if path.is_dir() {
        let contexts = settings::contexts(path)?;
        let environments = environment.map_or_else(|| settings::environments(path), |name| Ok(vec![name]))?;
        for environment in environments {
            settings::build(path, &contexts, &environment)?;
            valid.push(format!("{}, environment {environment}", path.display()));
        }
    } else {
        let origin = path.display().to_string();
        let settings = Settings::from_file(path)?;
        settings.validate().map_err(|problems| SettingsError::Invalid { origin: origin.clone(), problems })?;
        valid.push(origin);
    }
    if context.json {
        return output::print_json(&serde_json::json!({"valid": valid}));
    }
    output::print(valid.iter().map(|what| format!("{what}: valid")).collect::<Vec<_>>().join("\n"))
}
