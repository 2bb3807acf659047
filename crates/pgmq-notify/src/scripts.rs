//! PGMQ's SQL scripts, and which of them a database still needs.
//!
//! The files in `pgmq/` are unchanged copies; see `pgmq/README.md`. The table `pgmq.__pgmq_migrations` records which
//! scripts were run. Its format is that of the crate `pgmq`, so databases that this crate has set up can be upgraded.

use sqlx::{PgConnection, PgPool};

use crate::InstallError;

/// The version of PGMQ that [`run`] installs.
pub(crate) const VERSION: &str = "1.13.0";
/// The oldest version that [`run`] can upgrade: the first one that the crate `pgmq` has installed.
pub(crate) const OLDEST: &str = "1.11.0";

/// The advisory lock of the crate `pgmq`, so that its installer and this one never run at the same time.
const LOCK: i64 = i64::MIN + 4149;

struct Script {
    name: &'static str,
    /// The version that it upgrades; `None` if it installs PGMQ.
    from: Option<&'static str>,
    to: &'static str,
    sql: &'static str,
}

const INSTALL: Script = Script { name: "pgmq.sql", from: None, to: VERSION, sql: include_str!("../pgmq/pgmq.sql") };

macro_rules! upgrade {
    ($from:literal, $to:literal) => {
        Script {
            name: concat!("pgmq--", $from, "--", $to, ".sql"),
            from: Some($from),
            to: $to,
            sql: include_str!(concat!("../pgmq/pgmq--", $from, "--", $to, ".sql")),
        }
    };
}

/// Each begins where the one before it ends.
const UPGRADES: &[Script] = &[upgrade!("1.11.0", "1.11.1"), upgrade!("1.11.1", "1.12.0"), upgrade!("1.12.0", "1.13.0")];

/// Installs PGMQ, or upgrades an installation that is older than [`VERSION`], in one transaction.
pub(crate) async fn run(pool: &PgPool) -> Result<(), InstallError> {
    let mut transaction = pool.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    sqlx::raw_sql(
        "create schema if not exists pgmq;
         create table if not exists pgmq.__pgmq_migrations (
             name text primary key not null,
             version text not null,
             run_at timestamp with time zone not null default clock_timestamp())",
    )
    .execute(&mut *transaction)
    .await?;
    let installed: Option<String> = sqlx::query_scalar(
        "select version from pgmq.__pgmq_migrations order by string_to_array(version, '.')::int[] desc limit 1",
    )
    .fetch_optional(&mut *transaction)
    .await?;
    match installed {
        None => apply(&mut transaction, &INSTALL).await?,
        Some(installed) if is_newer(&installed) => {
            tracing::info!(installed, "the database has a newer PGMQ than {VERSION}: leaving it as it is");
        }
        Some(installed) if installed == VERSION => {}
        Some(installed) => {
            let Some(first) = UPGRADES.iter().position(|upgrade| upgrade.from == Some(&installed)) else {
                return Err(InstallError::UnknownVersion { installed });
            };
            for upgrade in &UPGRADES[first..] {
                apply(&mut transaction, upgrade).await?;
            }
        }
    }
    transaction.commit().await?;
    Ok(())
}

async fn apply(connection: &mut PgConnection, script: &Script) -> Result<(), InstallError> {
    let failed = |source| InstallError::Script { script: script.name, source };
    sqlx::raw_sql(script.sql).execute(&mut *connection).await.map_err(failed)?;
    sqlx::query("insert into pgmq.__pgmq_migrations (name, version) values ($1, $2)")
        .bind(script.name)
        .bind(script.to)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether a version is newer than [`VERSION`].
fn is_newer(version: &str) -> bool {
    let numbers = |version: &str| -> Vec<u32> { version.split('.').filter_map(|part| part.parse().ok()).collect() };
    numbers(version) > numbers(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_form_a_chain_from_the_oldest_to_the_current_version() {
        let mut version = OLDEST;
        for upgrade in UPGRADES {
            assert_eq!(upgrade.from, Some(version));
            version = upgrade.to;
        }
        assert_eq!(version, VERSION);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_newer("1.13.1") && is_newer("1.100.0") && is_newer("2.0.0"));
        assert!(!is_newer("1.13.0") && !is_newer("1.9.9") && !is_newer("0.33.3"));
    }
}
