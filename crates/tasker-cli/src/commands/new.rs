//! `tasker-cli new`

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::json;
use tasker_api::limits::MAX_NAMESPACE_CHARS;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::starters::{self, File};

#[derive(Debug, Args)]
pub(crate) struct Command {
    /// The language of the project.
    #[arg(long)]
    language: Language,
    /// The name of the project and of its folder: lowercase letters, digits and hyphens.
    #[arg(value_parser = checked)]
    name: String,
}

/// The languages, by the names of their folders in `starters`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Language {
    /// An API with FastAPI, and a worker in the same process. They use Redis and pgvector.
    Python,
    /// An API with Rails, and a worker.
    Ruby,
    /// An API with axum, and a worker in the same process.
    Rust,
    /// An API with Hono, and a worker in the same process.
    #[value(name = "typescript")]
    TypeScript,
}

impl Language {
    pub(crate) fn files(self) -> &'static [File] {
        match self {
            Self::Python => starters::PYTHON,
            Self::Ruby => starters::RUBY,
            Self::Rust => starters::RUST,
            Self::TypeScript => starters::TYPESCRIPT,
        }
    }
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { language, name } = self;
        let folder = Path::new(&name);
        fs::create_dir(folder).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::failed(format!("{name} already exists; choose another name")),
            _ => cannot_write(folder, &error),
        })?;
        for file in language.files() {
            write(&folder.join(file.path), &file.text(&name))?;
        }
        if context.json {
            let files: Vec<_> = language.files().iter().map(|file| file.path).collect();
            return output::print_json(&json!({ "folder": name, "files": files }));
        }
        output::print(format!(
            "Created the project in {name}/. Its README.md says how to change it. To start it:\n\n  cd {name} && \
             process-compose up --use-uds"
        ))
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    // A script can be run.
    let mode = if text.starts_with("#!") { 0o777 } else { 0o666 };
    let file = fs::File::options().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

/// A name that is also allowed as a package, and with `_` for `-` as a namespace.
fn checked(name: &str) -> Result<String, String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if starts_well && is_plain && name.len() <= MAX_NAMESPACE_CHARS {
        Ok(name.to_owned())
    } else {
        Err(format!("use up to {MAX_NAMESPACE_CHARS} lowercase letters, digits and hyphens, beginning with a letter"))
    }
}
