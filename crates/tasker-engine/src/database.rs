//! Connecting to PostgreSQL, and the schema's migrations.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection};
use url::Url;

use tasker_runtime::settings;

use crate::message::message;

/// The migrations of schema `tasker`, embedded. They need PGMQ in the database.
pub static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!();
    // The default table, in a fixed place: without the schema, PostgreSQL would look in one named like the user first, and that is
    // ours where the user is called tasker.
    migrator.dangerous_set_table_name("public._sqlx_migrations");
    migrator
});

const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// No address was given.
    #[error("no database is named: set DATABASE_URL, or `url` in section [database] of the settings")]
    NoUrl,
    /// The address cannot be read.
    #[error(
        "DATABASE_URL is not the address of a PostgreSQL database (postgres://user:password@host:port/database): {0}"
    )]
    BadUrl(String),
    /// A file of a certificate or key that the address or the environment names cannot be read.
    #[error("cannot read {path}, which {parameter} names: {source}")]
    TlsFile {
        /// The parameter or variable, such as `sslrootcert` or `PGSSLROOTCERT`.
        parameter: String,
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The server cannot be reached or refuses us.
    #[error("cannot connect to PostgreSQL at {address}: {}", message(source))]
    Unreachable {
        /// Host, port and database, without the password.
        address: String,
        /// What happened.
        source: sqlx::Error,
    },
    /// The schema is missing or older than this program.
    #[error(
        "the database's schema is at version {found}, this program needs version {needed}: run `tasker-cli db migrate` or `tasker-server migrate`"
    )]
    Outdated {
        /// The newest migration of the database; 0 if there is none.
        found: i64,
        /// The newest migration of this program.
        needed: i64,
    },
    /// A query failed.
    #[error("{}", message(.0))]
    Sql(#[from] sqlx::Error),
}

/// A pool of connections. One is made and closed at once, so that a wrong address is known at start.
///
/// # Errors
/// When the address is missing or wrong, or the server cannot be reached within the acquire timeout.
pub async fn connect(settings: &settings::Database, application: &str) -> Result<PgPool, DatabaseError> {
    if settings.url.is_empty() {
        return Err(DatabaseError::NoUrl);
    }
    let options = PgConnectOptions::from_str(&settings.url)
        .map_err(|error| DatabaseError::BadUrl(error.to_string()))?
        .application_name(application);
    let address =
        format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default());
    // Not the pool's own first connection: it would try until the timeout, and then hide why the server refuses.
    let first = tokio::time::timeout(settings.acquire_timeout(), PgConnection::connect_with(&options)).await;
    match first {
        // Whatever closing it says, the pool makes its own.
        Ok(Ok(connection)) => drop(connection.close().await),
        Ok(Err(source)) => {
            let tls_file = matches!(source, sqlx::Error::Io(_)).then(|| unreadable_tls_file(&settings.url)).flatten();
            return Err(tls_file.unwrap_or(DatabaseError::Unreachable { address, source }));
        }
        Err(_) => return Err(DatabaseError::Unreachable { address, source: sqlx::Error::PoolTimedOut }),
    }
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .min_connections(1)
        .acquire_timeout(settings.acquire_timeout())
        // Ask a connection whether it lives only where it was idle for a while: under load that is a round trip per query.
        .test_before_acquire(false)
        .before_acquire(|connection, idle| {
            Box::pin(async move {
                if idle.idle_for >= IDLE_BEFORE_PING {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options))
}

/// The file of a certificate or key that cannot be read, if there is one. The driver's error does not name it.
fn unreadable_tls_file(url: &str) -> Option<DatabaseError> {
    const PARAMETERS: [&str; 7] =
        ["sslrootcert", "ssl-root-cert", "ssl-ca", "sslcert", "ssl-cert", "sslkey", "ssl-key"];
    const VARIABLES: [&str; 3] = ["PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"];
    let url = Url::parse(url).ok()?;
    let named = url.query_pairs().filter(|(name, _)| PARAMETERS.contains(&name.as_ref()));
    let named = named.map(|(name, value)| (name.into_owned(), value.into_owned()));
    let variables = VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    // The driver also takes the text of a certificate instead of a file.
    let mut files = named.chain(variables).filter(|(_, value)| !value.contains("-----BEGIN"));
    files.find_map(|(parameter, path)| match std::fs::File::open(&path) {
        Ok(_) => None,
        Err(source) => Some(DatabaseError::TlsFile { parameter, path, source }),
    })
}

/// The number of the newest migration of the database; 0 if there is none.
///
/// # Errors
/// When the query fails.
pub async fn schema_version(pool: &PgPool) -> Result<i64, DatabaseError> {
    let migrated: bool =
        sqlx::query_scalar("select to_regclass('public._sqlx_migrations') is not null").fetch_one(pool).await?;
    if !migrated {
        return Ok(0);
    }
    Ok(sqlx::query_scalar("select coalesce(max(version), 0) from public._sqlx_migrations where success")
        .fetch_one(pool)
        .await?)
}

/// Makes sure that the database has every migration of this program. A newer schema is taken: migrations keep the functions
/// that older programs call.
///
/// # Errors
/// [`DatabaseError::Outdated`] when it has not.
pub async fn require_schema(pool: &PgPool) -> Result<(), DatabaseError> {
    let needed = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = schema_version(pool).await?;
    if found < needed {
        return Err(DatabaseError::Outdated { found, needed });
    }
    Ok(())
}
