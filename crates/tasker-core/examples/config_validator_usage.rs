//! Merges this repository's settings for the environment `test`, checks and prints them. Then shows how wrong
//! settings are reported.
//!
//! ```text
//! cargo run --example config_validator_usage
//! ```

use std::path::Path;

use tasker_core::runtime::settings::{Settings, build, contexts};

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/tasker");

    // The same as `config-builder --environment test`.
    let built = build(&folder, &contexts(&folder)?, "test")?;
    println!("The settings of environment `test` are valid:\n\n{}", built.toml);
    anyhow::ensure!(built.settings.validate().is_ok(), "the built settings are not valid");

    let mut settings = Settings::default();
    settings.worker.max_concurrent = 0;
    settings.logging.filter = "tasker=loud".to_owned();
    let Err(problems) = settings.validate() else { anyhow::bail!("wrong settings were accepted") };
    println!("All wrong settings are reported at once:\n");
    for problem in problems {
        println!("  {problem}");
    }
    Ok(())
}
