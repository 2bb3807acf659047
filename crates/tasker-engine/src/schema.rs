//! The schema of the database: migrations, functions, and the check that a program fits the schema.
//!
//! Tables and types change by numbered migrations, which never change once released. Functions have one current source
//! in `functions/`. [`migrate`] replaces all of them in one transaction if their hash differs from the installed one.
//!
//! A program needs its own schema, or a newer one that still supports it. A rolling upgrade migrates the database
//! first. Programs of the release before keep running, and can be restarted, until they are replaced.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use semver::Version;
use sha2::{Digest, Sha256};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use tasker_api::VERSION;
use tokio::time::sleep;

use crate::database::DatabaseError;
use crate::message::{message, migration_message};

/// The migrations of schema `tasker`. They need PGMQ in the database.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!();
    // This is sqlx's default table with an explicit schema. Without it, PostgreSQL first searches the schema with the
    // name of the user. For a user named tasker, that is Tasker's own schema.
    migrator.dangerous_set_table_name("public._sqlx_migrations");
    // Release 0.1 recorded migrations 1 to 12.
    migrator.set_ignore_missing(true);
    migrator
});

/// The functions of schema `tasker`, in reading order.
const FUNCTIONS: &[&str] = &[
    include_str!("../functions/01_overview.sql"),
    include_str!("../functions/01_valid_rows.sql"),
    include_str!("../functions/02_templates.sql"),
    include_str!("../functions/03_messages.sql"),
    include_str!("../functions/04_create_tasks.sql"),
    include_str!("../functions/05_start_steps.sql"),
    include_str!("../functions/06_advance_tasks.sql"),
    include_str!("../functions/06_child_tasks.sql"),
    include_str!("../functions/06_complete_steps.sql"),
    include_str!("../functions/06_expand_steps.sql"),
    include_str!("../functions/06_gate_steps.sql"),
    include_str!("../functions/06_publish_events.sql"),
    include_str!("../functions/06_settle_steps.sql"),
    include_str!("../functions/06_wait_steps.sql"),
    include_str!("../functions/07_operate.sql"),
    include_str!("../functions/08_workers.sql"),
    include_str!("../functions/09_next_due.sql"),
    include_str!("../functions/10_find_tasks.sql"),
    include_str!("../functions/11_roles.sql"),
    include_str!("../functions/12_retention.sql"),
    include_str!("../functions/13_schedules.sql"),
    include_str!("../functions/14_fork.sql"),
    include_str!("../functions/15_deadlines.sql"),
    include_str!("../functions/16_dead_letters.sql"),
    include_str!("../functions/17_observe.sql"),
    include_str!("../functions/18_bulk.sql"),
    include_str!("../functions/90_release_0_1.sql"),
];

/// Whether there is something that only functions of earlier releases need.
const HAS_RETIRED: &str = "select to_regclass('tasker.tasks_idempotency_key') is not null";
/// Removes it.
const DROP_RETIRED: &str = "drop index if exists tasker.tasks_idempotency_key";
/// The transactions that are running in this database, without this one.
const RUNNING: &str = "select l.virtualtransaction from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'virtualxid' and l.granted and a.datname = current_database() and l.pid <> pg_backend_pid()";
/// How long a migration waits for calls of functions that it has replaced.
const REPLACED_CALLS_LIMIT: Duration = Duration::from_secs(30);

/// The last migration of release 0.1.
const RELEASE_0_1: i64 = 12;
/// The migration with the tables of release 0.1.
const TABLES_OF_0_1: i64 = 13;
/// Programs whose newest migration has this number or a later one can use the schema.
const OLDEST_PROGRAM: i64 = RELEASE_0_1;

/// Why a database could not be migrated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// PGMQ could not be installed.
    #[error("installing PGMQ: {0}")]
    Pgmq(#[from] pgmq_notify::InstallError),
    /// The database is newer than this program, so this program must not change it.
    #[error(
        "the database is newer than this program (schema {found}, this program knows {known}): upgrade the program"
    )]
    TooNew {
        /// The newest migration of the database.
        found: i64,
        /// The newest migration of this program.
        known: i64,
    },
    /// The functions were installed by a newer release.
    #[error(
        "the database has the functions of a newer build (Tasker {found} installed them, this program is {VERSION}): \
         upgrade the program"
    )]
    NewFunctions {
        /// The release that installed the functions.
        found: String,
    },
    /// A development version before release 0.1 created the database.
    #[error("the database has schema {found}, but upgrades start at schema {RELEASE_0_1} (release 0.1)")]
    Unsupported {
        /// The newest migration of the database.
        found: i64,
    },
    /// A migration failed.
    #[error("migrating schema `tasker`: {}", migration_message(.0))]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A query failed.
    #[error("{}", message(.0))]
    Sql(#[from] sqlx::Error),
}

impl MigrateError {
    /// The exit code of a program that stops with this error: 4 if the database is too old, 5 if it is too new, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unsupported { .. } => 4,
            Self::TooNew { .. } | Self::NewFunctions { .. } => 5,
            Self::Pgmq(_) | Self::Migration(_) | Self::Sql(_) => 1,
        }
    }
}

/// Installs PGMQ, runs the missing migrations, and replaces the functions if they differ. Several processes can call it
/// at the same time. They take turns.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    // The lock has its own connection. Dropping the connection releases the lock whenever this function returns.
    let mut turn = pool.acquire().await?.detach();
    sqlx::query("select pg_advisory_lock(hashtext('tasker.migrate'))").execute(&mut turn).await?;
    let known = newest();
    match schema_version(pool).await? {
        found if found > known => return Err(MigrateError::TooNew { found, known }),
        found @ 1..RELEASE_0_1 => return Err(MigrateError::Unsupported { found }),
        RELEASE_0_1 => MIGRATIONS.skip(pool, Some(TABLES_OF_0_1)).await?,
        _ => {}
    }
    let pgmq = pgmq_notify::install(pool).await?;
    MIGRATIONS.run(pool).await?;
    install_functions(pool).await?;
    retire(pool).await?;
    tracing::info!(?pgmq, schema = known, "the database is migrated");
    Ok(())
}

/// Removes what only replaced functions need, when the calls that still run them have ended. If a transaction stays open,
/// the next migration removes it.
async fn retire(pool: &PgPool) -> sqlx::Result<()> {
    if !sqlx::query_scalar::<_, bool>(HAS_RETIRED).fetch_one(pool).await? {
        return Ok(());
    }
    let replaced: Vec<String> = sqlx::query_scalar(RUNNING).fetch_all(pool).await?;
    let deadline = Instant::now() + REPLACED_CALLS_LIMIT;
    loop {
        let running: Vec<String> = sqlx::query_scalar(RUNNING).fetch_all(pool).await?;
        if !running.iter().any(|transaction| replaced.contains(transaction)) {
            break;
        }
        if Instant::now() > deadline {
            tracing::warn!(
                "a transaction stays open; run the migration again when it has ended, to finish the upgrade"
            );
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    sqlx::raw_sql(DROP_RETIRED).execute(pool).await?;
    Ok(())
}

/// Replaces the functions in one transaction, drops functions without a source, and grants the rights of the runtime
/// roles again. Does nothing if these functions are installed.
async fn install_functions(pool: &PgPool) -> Result<(), MigrateError> {
    let mut transaction = pool.begin().await?;
    let installed: Option<Installation> = sqlx::query_as(INSTALLED).fetch_optional(&mut *transaction).await?;
    if let Some(installed) = installed {
        if installed.functions_hash == hash() {
            return Ok(());
        }
        if installed.is_newer() {
            return Err(MigrateError::NewFunctions { found: installed.installed_by });
        }
    }
    sqlx::raw_sql(AssertSqlSafe(FUNCTIONS.concat())).execute(&mut *transaction).await?;
    // All functions that this transaction created or replaced have its id as xmin.
    sqlx::raw_sql(
        "do $$
         declare
             v_function regprocedure;
         begin
             for v_function in
                 select p.oid from pg_proc p
                 where p.pronamespace in ('tasker'::regnamespace, 'tasker_queues'::regnamespace)
                   and p.xmin <> pg_current_xact_id()::xid
             loop
                 execute format('drop function %s', v_function);
             end loop;
             perform tasker.grant_runtime(r) from tasker.runtime_roles() r;
         end
         $$",
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into tasker.installation (functions_hash, installed_by, installed_at, oldest_program)
         values ($1, $2, clock_timestamp(), $3)
         on conflict (singleton) do update
         set functions_hash = excluded.functions_hash, installed_by = excluded.installed_by,
             installed_at = excluded.installed_at, oldest_program = excluded.oldest_program",
    )
    .bind(hash())
    .bind(VERSION)
    .bind(OLDEST_PROGRAM)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Checks that this program can use the database: the schema and the functions are from this release, or from a newer
/// one that still supports it.
///
/// # Errors
/// [`DatabaseError::TooOld`], [`DatabaseError::OldFunctions`] or [`DatabaseError::TooNew`] when it cannot, and
/// [`DatabaseError::Sql`] when a query fails.
pub async fn require_schema(pool: &PgPool) -> Result<(), DatabaseError> {
    let known = newest();
    let found = schema_version(pool).await?;
    if found < known {
        return Err(DatabaseError::TooOld { found, needed: known });
    }
    let installed: Installation = sqlx::query_as(INSTALLED).fetch_one(pool).await?;
    if installed.oldest_program > known {
        return Err(DatabaseError::TooNew { found, known });
    }
    if found == known && installed.functions_hash != hash() && !installed.is_newer() {
        return Err(DatabaseError::OldFunctions { found: installed.installed_by, needed: VERSION });
    }
    Ok(())
}

const INSTALLED: &str = "select functions_hash, installed_by, oldest_program from tasker.installation";

#[derive(FromRow)]
struct Installation {
    functions_hash: Vec<u8>,
    installed_by: String,
    oldest_program: i64,
}

impl Installation {
    /// Whether a newer release than this one installed the functions.
    fn is_newer(&self) -> bool {
        match (Version::parse(&self.installed_by), Version::parse(VERSION)) {
            (Ok(installed), Ok(this)) => installed > this,
            _ => false,
        }
    }
}

/// The number of this program's newest migration.
fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The number of the database's newest migration, or 0 if there is none.
///
/// # Errors
/// When the query fails.
pub async fn schema_version(pool: &PgPool) -> sqlx::Result<i64> {
    let migrated: bool =
        sqlx::query_scalar("select to_regclass('public._sqlx_migrations') is not null").fetch_one(pool).await?;
    if !migrated {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from public._sqlx_migrations where success")
        .fetch_one(pool)
        .await
}

/// The SHA-256 of the sources of the functions.
fn hash() -> Vec<u8> {
    let mut hash = Sha256::new();
    for source in FUNCTIONS {
        hash.update(source);
    }
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_functions_is_installed_in_order() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let sources: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        assert_eq!(FUNCTIONS, sources);
    }
}
