//! Installing PGMQ in a database.

use sqlx::PgPool;

use crate::scripts;

/// How PGMQ is installed in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installation {
    /// As an extension of the server.
    Extension,
    /// As plain SQL.
    Sql,
}

/// Why PGMQ could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The database has a schema `pgmq` that belongs neither to the extension nor to a versioned SQL installation.
    #[error(
        "the database has a schema `pgmq`, but neither the extension nor a versioned SQL installation created it; \
         create the extension, or drop the schema"
    )]
    ForeignSchema,
    /// PGMQ was installed as plain SQL by something else, in a version that cannot be upgraded.
    #[error(
        "PGMQ {installed} is installed, which cannot be upgraded to {}; upgrade it to {} first",
        scripts::VERSION,
        scripts::OLDEST
    )]
    UnknownVersion {
        /// The version that is installed.
        installed: String,
    },
    /// One of PGMQ's SQL scripts failed.
    #[error("PGMQ's script {script} failed: {}", message(source))]
    Script {
        /// The script's file name.
        script: &'static str,
        /// The database's error.
        source: sqlx::Error,
    },
    /// A query failed.
    #[error("{}", message(.0))]
    Sql(#[from] sqlx::Error),
}

/// The message of an error, without the line of PostgreSQL's source code that the driver adds.
fn message(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// Makes sure that the database has PGMQ. It becomes an extension where the server offers it and the role may create
/// it, otherwise plain SQL. An existing extension is left as it is; an existing SQL installation is upgraded to the
/// version of this crate unless it is newer. Safe to call from several processes at once.
///
/// # Errors
/// See [`InstallError`]. A failed call leaves the database as it was.
pub async fn install(pool: &PgPool) -> Result<Installation, InstallError> {
    let (extension, schema, versioned): (bool, bool, bool) = sqlx::query_as(
        "select exists (select from pg_extension where extname = 'pgmq'),
                to_regnamespace('pgmq') is not null,
                to_regclass('pgmq.__pgmq_migrations') is not null",
    )
    .fetch_one(pool)
    .await?;
    if extension {
        return Ok(Installation::Extension);
    }
    if schema && !versioned {
        return Err(InstallError::ForeignSchema);
    }
    if !versioned && create_extension(pool).await? {
        return Ok(Installation::Extension);
    }
    scripts::run(pool).await?;
    Ok(Installation::Sql)
}

/// Creates the extension. Returns false if the server does not offer it or the role may not create it.
async fn create_extension(pool: &PgPool) -> sqlx::Result<bool> {
    let offered: bool = sqlx::query_scalar("select exists (select from pg_available_extensions where name = 'pgmq')")
        .fetch_one(pool)
        .await?;
    if !offered {
        return Ok(false);
    }
    match sqlx::query("create extension pgmq").execute(pool).await {
        Ok(_) => Ok(true),
        // 42501: insufficient_privilege
        Err(error) if error.as_database_error().and_then(|error| error.code()).as_deref() == Some("42501") => {
            tracing::info!(
                "the server offers the pgmq extension, but this role may not create it: installing PGMQ's SQL"
            );
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
