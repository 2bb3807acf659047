//! The starters: projects that `tasker-cli new` makes, embedded in the program.
//!
//! The files are those of `starters/` in the repository, which `nix flake init -t` copies. Cargo packs only files of the
//! crate, no folder that has a `Cargo.toml`, and git reads no `.gitignore` that is a link. So the folder `starters` of
//! this crate has links to the files, some with other names. Builds that leave documents out need `readme`.

/// The name of the project in the starters. A new project has its own name in its place.
pub(crate) const NAME: &str = "tasker-starter";
/// [`NAME`] where a hyphen is not allowed, such as in a namespace.
const IDENTIFIER: &str = "tasker_starter";

/// A file of a starter.
pub(crate) struct File {
    /// Its path in the project.
    pub(crate) path: &'static str,
    text: &'static str,
}

impl File {
    /// Its text in the project `name`.
    pub(crate) fn text(&self, name: &str) -> String {
        self.text.replace(NAME, name).replace(IDENTIFIER, &name.replace('-', "_"))
    }
}

/// The path of each file in the project, and the name of the link to it.
macro_rules! starter {
    ($folder:literal, $($path:literal: $link:literal,)*) => {
        &[$(File { path: $path, text: include_str!(concat!("../starters/", $folder, "/", $link)) }),*]
    };
}

pub(crate) const PYTHON: &[File] = starter![
    "python",
    ".github/workflows/ci.yml": "github/workflows/ci.yml",
    ".gitignore": "gitignore",
    "README.md": "readme",
    "app/__init__.py": "app/__init__.py",
    "app/embedding.py": "app/embedding.py",
    "app/index.py": "app/index.py",
    "app/main.py": "app/main.py",
    "app/steps.py": "app/steps.py",
    "process-compose.yaml": "process-compose.yaml",
    "pyproject.toml": "pyproject.toml",
    "templates/document.yaml": "templates/document.yaml",
    "tests/test_documents.py": "tests/test_documents.py",
];

pub(crate) const RUBY: &[File] = starter![
    "ruby",
    ".github/workflows/ci.yml": "github/workflows/ci.yml",
    ".gitignore": "gitignore",
    "Gemfile": "Gemfile",
    "README.md": "readme",
    "Rakefile": "Rakefile",
    "app/controllers/orders_controller.rb": "app/controllers/orders_controller.rb",
    "app/steps/charge_step.rb": "app/steps/charge_step.rb",
    "app/steps/check_stock_step.rb": "app/steps/check_stock_step.rb",
    "app/steps/ship_step.rb": "app/steps/ship_step.rb",
    "bin/rails": "bin/rails",
    "bin/tasker-worker": "bin/tasker-worker",
    "config.ru": "config.ru",
    "config/application.rb": "config/application.rb",
    "config/environment.rb": "config/environment.rb",
    "config/puma.rb": "config/puma.rb",
    "config/routes.rb": "config/routes.rb",
    "config/tasker/order.yaml": "config/tasker/order.yaml",
    "process-compose.yaml": "process-compose.yaml",
    "test/controllers/orders_controller_test.rb": "test/controllers/orders_controller_test.rb",
    "test/steps/check_stock_step_test.rb": "test/steps/check_stock_step_test.rb",
    "test/test_helper.rb": "test/test_helper.rb",
];

pub(crate) const RUST: &[File] = starter![
    "rust",
    ".github/workflows/ci.yml": "github/workflows/ci.yml",
    ".gitignore": "gitignore",
    "Cargo.toml": "manifest.toml",
    "README.md": "readme",
    "process-compose.yaml": "process-compose.yaml",
    "src/api.rs": "src/api.rs",
    "src/main.rs": "src/main.rs",
    "src/steps.rs": "src/steps.rs",
    "src/tests.rs": "src/tests.rs",
    "templates/order.yaml": "templates/order.yaml",
];

pub(crate) const TYPESCRIPT: &[File] = starter![
    "typescript",
    ".github/workflows/ci.yml": "github/workflows/ci.yml",
    ".gitignore": "gitignore",
    "README.md": "readme",
    "package.json": "package.json",
    "process-compose.yaml": "process-compose.yaml",
    "src/api.ts": "src/api.ts",
    "src/main.ts": "src/main.ts",
    "src/orders.test.ts": "src/orders.test.ts",
    "src/steps.ts": "src/steps.ts",
    "templates/order.yaml": "templates/order.yaml",
    "tsconfig.json": "tsconfig.json",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use clap::ValueEnum;

    use super::*;
    use crate::commands::new::Language;

    /// The files below a folder, as paths from it. `cargo` and Tasker make the ones that are left out.
    fn files_below(folder: &Path) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if ["Cargo.lock", "target", ".tasker"].contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                files.extend(files_below(&entry.path()).into_iter().map(|file| format!("{name}/{file}")));
            } else {
                files.insert(name);
            }
        }
        files
    }

    #[test]
    fn every_file_of_a_starter_is_embedded() {
        let starters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../starters");
        let mut expected = BTreeSet::new();
        for language in Language::value_variants() {
            let folder = language.to_possible_value().unwrap().get_name().to_owned();
            for file in language.files() {
                let path = format!("{folder}/{}", file.path);
                assert_eq!(file.text, fs::read_to_string(starters.join(&path)).unwrap(), "{path}");
                expected.insert(path);
            }
        }
        assert_eq!(files_below(&starters), expected);
    }

    #[test]
    fn no_file_keeps_the_name_of_the_starter() {
        for file in Language::value_variants().iter().flat_map(|language| language.files()) {
            let text = file.text("my-shop");
            assert!(!text.contains(NAME) && !text.contains(IDENTIFIER), "{}", file.path);
        }
        let text = |path: &str| RUST.iter().find(|file| file.path == path).unwrap().text("my-shop");
        assert!(text("Cargo.toml").contains("name = \"my-shop\""));
        assert!(text("templates/order.yaml").contains("namespace_name: my_shop\n"));
    }
}
