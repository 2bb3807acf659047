//! Connecting to PostgreSQL.
//!
//! Tasker needs sessions: it listens for notifications, keeps prepared statements, and sets the planner once for each
//! connection. A pooler in transaction mode offers none of this, so [`connect`] refuses it.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection, Row};
use tasker_runtime::settings;
use url::Url;

use crate::message::message;
pub use crate::schema::require_schema;

/// A connection that has been idle for this long is pinged before it is used.
const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);

/// The planner settings of the engine's statements: always use indexes and nested loops, and keep plans. Without these
/// settings the planner overestimates set-returning functions, assumes that young tables are empty, and runs the JIT
/// compiler because disabled plan nodes look expensive. They are settings of the session, because a SET clause of each
/// function costs more time than some of the statements.
const PLANNER: &str = "select set_config(name, value, false) from (values
    ('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off'),
    ('plan_cache_mode', 'force_generic_plan')) s(name, value)";

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// No address was given.
    #[error("the database has no address: set DATABASE_URL, or `url` in section [database] of the settings")]
    NoUrl,
    /// The address is not valid.
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
    /// The server cannot be reached or refuses the connection.
    #[error("cannot connect to PostgreSQL at {address}: {}", message(source))]
    Unreachable {
        /// Host, port and database, without the password.
        address: String,
        /// The cause.
        source: sqlx::Error,
    },
    /// The address belongs to a pooler that shares sessions of PostgreSQL among its clients.
    #[error(
        "{address} is a connection pooler in transaction mode, and Tasker needs sessions: connect to PostgreSQL \
         itself, or to the pooler in session mode (see docs/poolers.md)"
    )]
    Pooler {
        /// Host, port and database, without the password.
        address: String,
    },
    /// The schema is missing or older than this program.
    #[error(
        "the database is older than this program (schema {found}, this program needs {needed}): \
         run `tasker-cli db migrate` or `tasker-server migrate`"
    )]
    TooOld {
        /// The newest migration of the database, or 0 if there is none.
        found: i64,
        /// The newest migration of this program.
        needed: i64,
    },
    /// The functions of the schema are older than this program.
    #[error(
        "the database has the functions of another build (Tasker {found} installed them, this program is {needed}): \
         run `tasker-cli db migrate` or `tasker-server migrate`"
    )]
    OldFunctions {
        /// The release that installed the functions.
        found: String,
        /// The release of this program.
        needed: &'static str,
    },
    /// The schema is newer than this program and no longer supports it.
    #[error(
        "the database is newer than this program (schema {found}, this program knows {known}): upgrade the program"
    )]
    TooNew {
        /// The newest migration of the database.
        found: i64,
        /// The newest migration of this program.
        known: i64,
    },
    /// A query failed.
    #[error("{}", message(.0))]
    Sql(#[from] sqlx::Error),
}

impl DatabaseError {
    /// The exit code of a program that stops with this error: 4 if the database is too old, 5 if it is too new, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::TooOld { .. } | Self::OldFunctions { .. } => 4,
            Self::TooNew { .. } => 5,
            Self::NoUrl
            | Self::BadUrl(_)
            | Self::TlsFile { .. }
            | Self::Unreachable { .. }
            | Self::Pooler { .. }
            | Self::Sql(_) => 1,
        }
    }
}

/// Creates a pool of connections for the engine. It first checks that the database can be reached, so that a program
/// with a wrong address fails at start.
///
/// # Errors
/// When the address is missing or wrong, the server cannot be reached within the acquire timeout, or the address
/// belongs to a pooler in transaction mode.
pub async fn connect(settings: &settings::Database, application: &str) -> Result<PgPool, DatabaseError> {
    if settings.url.is_empty() {
        return Err(DatabaseError::NoUrl);
    }
    let options = PgConnectOptions::from_str(&settings.url)
        .map_err(|error| DatabaseError::BadUrl(error.to_string()))?
        .application_name(application);
    let address =
        format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default());
    // This check does not use the pool, which would retry until the timeout and then hide the server's error.
    let shared = tokio::time::timeout(settings.acquire_timeout(), sessions_are_shared(&options)).await;
    match shared.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
        Ok(false) => {}
        Ok(true) => return Err(DatabaseError::Pooler { address }),
        Err(source) => {
            let tls_file = matches!(source, sqlx::Error::Io(_)).then(|| unreadable_tls_file(&settings.url)).flatten();
            return Err(tls_file.unwrap_or(DatabaseError::Unreachable { address, source }));
        }
    }
    Ok(pool_options()
        .max_connections(settings.max_connections)
        .min_connections(1)
        .acquire_timeout(settings.acquire_timeout())
        // Ping a connection only after it was idle. Under load, a ping would cost a round trip for each query.
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

/// Options of a pool for the engine: each connection sets the planner once. [`connect`] uses them.
pub fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            sqlx::raw_sql(PLANNER).execute(connection).await?;
            Ok(())
        })
    })
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

/// Whether two open connections have the same server process. If so, a pooler assigns sessions to transactions.
async fn sessions_are_shared(options: &PgConnectOptions) -> sqlx::Result<bool> {
    let mut one = PgConnection::connect_with(options).await?;
    let mut other = PgConnection::connect_with(options).await?;
    let mut processes = Vec::new();
    for connection in [&mut one, &mut other] {
        // Use the simple protocol, because a prepared statement can fail behind a pooler.
        let row = sqlx::raw_sql("select pg_backend_pid()::text").fetch_one(connection).await?;
        processes.push(row.try_get::<String, _>(0)?);
    }
    // A failure to close these connections does not matter, because the pool opens its own.
    drop(one.close().await);
    drop(other.close().await);
    Ok(processes[0] == processes[1])
}
