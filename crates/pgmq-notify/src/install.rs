//! Putting PGMQ into a database.

use sqlx::PgPool;

/// How PGMQ got, or had got, into the database.
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
    /// A schema `pgmq` is there that neither the extension nor this installer made.
    #[error(
        "the database has a schema `pgmq` that is neither the extension's nor this installer's; \
         if PGMQ's SQL was put there by hand, create the extension or drop the schema first"
    )]
    ForeignSchema,
    /// PGMQ's SQL failed.
    #[error("PGMQ's SQL could not be installed: {0}")]
    Script(String),
    /// A query failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// Makes sure that the database has PGMQ: as an extension where the server offers it and we may create it, else as plain SQL
/// (which is brought up to the version of this crate). The two are never mixed: what is there stays of its kind.
///
/// # Errors
/// See [`InstallError`]. Nothing is half installed.
pub async fn install(pool: &PgPool) -> Result<Installation, InstallError> {
    let (extension, schema, by_us): (bool, bool, bool) = sqlx::query_as(
        "select exists (select from pg_extension where extname = 'pgmq'),
                to_regnamespace('pgmq') is not null,
                to_regclass('pgmq.__pgmq_migrations') is not null",
    )
    .fetch_one(pool)
    .await?;
    if extension {
        return Ok(Installation::Extension);
    }
    if schema && !by_us {
        return Err(InstallError::ForeignSchema);
    }
    if !by_us && create_extension(pool).await? {
        return Ok(Installation::Extension);
    }
    pgmq::install::install_sql_from_embedded(pool).await.map_err(|error| InstallError::Script(error.to_string()))?;
    Ok(Installation::Sql)
}

/// Creates the extension; false where the server does not offer it or we may not create it.
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
            tracing::info!("the pgmq extension is offered but may not be created by this role: installing PGMQ's SQL");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
