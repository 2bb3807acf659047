//! `tasker-cli db`

use clap::Subcommand;
use tasker_engine::database::{self, DatabaseError};
use tasker_runtime::settings::Settings;

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install or upgrade PGMQ and the schema. Safe to run at any time.
    Migrate {
        /// The database [default: DATABASE_URL, then the settings file that TASKER_CONFIG_PATH names].
        #[arg(long)]
        database_url: Option<String>,
    },
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self::Migrate { database_url } = self;
        let mut settings = Settings::load(None)?;
        if let Some(url) = database_url {
            settings.database.url = url;
        }
        let pool = database::connect(&settings.database, "tasker-cli db").await?;
        tasker_engine::migrate(&pool).await.map_err(|error| Failure::with_code(error.exit_code(), error))?;
        let version = tasker_engine::schema_version(&pool).await.map_err(Failure::failed)?;
        if context.json {
            return output::print_json(&serde_json::json!({"schema_version": version}));
        }
        output::print(format!("The database has schema version {version}."))
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::NoUrl | DatabaseError::BadUrl(_) | DatabaseError::TlsFile { .. } => Self::usage(error),
            DatabaseError::Unreachable { .. } => Self::unreachable(error),
            _ => Self::with_code(error.exit_code(), error),
        }
    }
}
