//! Which programs may use which schema.

use anyhow::{Result, ensure};
use sqlx::PgPool;
use tasker_engine::database::{DatabaseError, require_schema};
use tasker_engine::{MigrateError, migrate};

use crate::database_of_0_1;
use crate::support::database;

/// Everything that defines the schema, a line each.
async fn definition(pool: &PgPool) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "select line from (
             select format('column %s.%s %s not null %s default %s', c.relname, a.attname,
                           format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
             from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
             where c.relnamespace = 'tasker'::regnamespace and c.relkind in ('r', 'c')
             union all
             select format('constraint %s on %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid))
             from pg_constraint where connamespace = 'tasker'::regnamespace and contype <> 'n'
             union all
             select indexdef from pg_indexes where schemaname = 'tasker'
             union all
             select format('options of %s: %s', relname, array_to_string(reloptions, ', '))
             from pg_class where relnamespace = 'tasker'::regnamespace
             union all
             select format('value %s of %s', e.enumlabel, t.typname)
             from pg_enum e join pg_type t on t.oid = e.enumtypid where t.typnamespace = 'tasker'::regnamespace
             union all
             select pg_get_functiondef(oid) from pg_proc where pronamespace = 'tasker'::regnamespace
         ) definitions(line) order by line",
    )
    .fetch_all(pool)
    .await?)
}

#[tokio::test]
async fn an_upgraded_schema_is_the_same_as_a_new_one() -> Result<()> {
    let (old, new) = (database_of_0_1().await?, database().await?);
    let (old, new) = (PgPool::connect(&old.url()).await?, PgPool::connect(&new.url()).await?);
    migrate(&old).await?;
    let (upgraded, fresh) = (definition(&old).await?, definition(&new).await?);
    ensure!(fresh.len() > 100, "only {} lines", fresh.len());
    for line in &upgraded {
        ensure!(fresh.contains(line), "only in the upgraded schema: {line}");
    }
    assert_eq!(upgraded.len(), fresh.len());
    // Again, nothing changes.
    migrate(&old).await?;
    assert_eq!(definition(&old).await?, upgraded);
    Ok(())
}

#[tokio::test]
async fn every_function_of_0_1_is_still_there_after_an_upgrade() -> Result<()> {
    const FUNCTIONS: &str = "select p.oid::regprocedure || ' returns ' || pg_get_function_result(p.oid) from pg_proc p
        where p.pronamespace = 'tasker'::regnamespace order by 1";
    let postgres = database_of_0_1().await?;
    let pool = PgPool::connect(&postgres.url()).await?;
    let before: Vec<String> = sqlx::query_scalar(FUNCTIONS).fetch_all(&pool).await?;
    migrate(&pool).await?;
    let after: Vec<String> = sqlx::query_scalar(FUNCTIONS).fetch_all(&pool).await?;
    let missing: Vec<_> = before.into_iter().filter(|function| !after.contains(function)).collect();
    assert_eq!(missing, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_upgrade_keeps_the_rights_of_runtime_roles() -> Result<()> {
    let postgres = database_of_0_1().await?;
    let pool = PgPool::connect(&postgres.url()).await?;
    sqlx::raw_sql("create role app; select tasker.grant_runtime('app')").execute(&pool).await?;
    migrate(&pool).await?;
    let (reads, writes): (bool, bool) = sqlx::query_as(
        "select has_table_privilege('app', 'tasker.installation', 'select'),
                has_table_privilege('app', 'tasker.installation', 'insert, update, delete')",
    )
    .fetch_one(&pool)
    .await?;
    assert_eq!((reads, writes), (true, false));
    Ok(())
}

#[tokio::test]
async fn a_program_says_whether_the_database_is_too_old_or_too_new() -> Result<()> {
    let postgres = database_of_0_1().await?;
    let pool = PgPool::connect(&postgres.url()).await?;
    let refused = require_schema(&pool).await;
    assert!(matches!(refused, Err(DatabaseError::TooOld { found: 12, .. })), "{refused:?}");

    migrate(&pool).await?;
    require_schema(&pool).await?;
    let set = |sql: &'static str| sqlx::raw_sql(sql).execute(&pool);

    // Functions of another build of this release, of an older and of a newer release.
    set("update tasker.installation set functions_hash = '\\x00'").await?;
    let refused = require_schema(&pool).await;
    assert!(matches!(refused, Err(DatabaseError::OldFunctions { .. })), "{refused:?}");
    set("update tasker.installation set installed_by = '99.0.0'").await?;
    require_schema(&pool).await?;
    let refused = migrate(&pool).await;
    assert!(matches!(refused, Err(MigrateError::NewFunctions { .. })), "{refused:?}");
    set("update tasker.installation set installed_by = '0.0.1'").await?;
    migrate(&pool).await?;
    require_schema(&pool).await?;

    // A newer schema that still supports this program, and one that does not.
    set("insert into public._sqlx_migrations (version, description, success, checksum, execution_time)
         values (999, 'of the future', true, '', 0)")
    .await?;
    require_schema(&pool).await?;
    let refused = migrate(&pool).await;
    assert!(matches!(refused, Err(MigrateError::TooNew { found: 999, .. })), "{refused:?}");
    set("update tasker.installation set oldest_program = 999").await?;
    let refused = require_schema(&pool).await;
    let Err(error @ DatabaseError::TooNew { .. }) = refused else { anyhow::bail!("{refused:?}") };
    assert!(error.to_string().starts_with("the database is newer than this program (schema 999,"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_database_from_before_release_0_1_is_refused() -> Result<()> {
    let postgres = database_of_0_1().await?;
    let pool = PgPool::connect(&postgres.url()).await?;
    sqlx::raw_sql("delete from public._sqlx_migrations where version > 8").execute(&pool).await?;
    let refused = migrate(&pool).await;
    assert!(matches!(refused, Err(MigrateError::Unsupported { found: 8 })), "{refused:?}");
    Ok(())
}
