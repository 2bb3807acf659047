//! PGMQ and its notifications on a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use local_postgres::{LocalPostgres, Options, StopMode};
use pgmq_notify::{Event, InstallError, Installation, Listener, insert_channel, install};
use sqlx::PgPool;

const DEADLINE: Duration = Duration::from_secs(30);

async fn postgres() -> (LocalPostgres, PgPool) {
    let options = Options { settings: vec![("fsync".to_owned(), "off".to_owned())], ..Options::default() };
    let server = LocalPostgres::start(options).await.unwrap();
    let pool = PgPool::connect(&server.url()).await.unwrap();
    (server, pool)
}

async fn next(listener: &mut Listener, what: &str) -> Event {
    tokio::time::timeout(DEADLINE, listener.next()).await.unwrap_or_else(|_| panic!("no event: {what}"))
}

/// An installation as the installer of the crate `pgmq` leaves it: its table, and one row for `pgmq.sql`.
async fn installed_by_the_crate(pool: &PgPool, version: &str, sql: &'static str) {
    sqlx::raw_sql(
        "create schema if not exists pgmq;
         create table if not exists pgmq.__pgmq_migrations ( name text primary key not null, version text not null,
             run_at timestamp with time zone not null default clock_timestamp());",
    )
    .execute(pool)
    .await
    .unwrap();
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
    sqlx::query("insert into pgmq.__pgmq_migrations ( name, version ) values ('pgmq.sql', $1)")
        .bind(version)
        .execute(pool)
        .await
        .unwrap();
}

/// The scripts that were run, each with the version that it led to.
async fn migrations(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select name || ' ' || version from pgmq.__pgmq_migrations order by run_at")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// Every function and every column of a table or type of PGMQ, without its queues.
async fn objects(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select format('%s(%s) %s %s', proname, pg_get_function_arguments(oid), pg_get_function_result(oid),
                md5(regexp_replace(prosrc, '\\s+', ' ', 'g')))
         from pg_proc where pronamespace = 'pgmq'::regnamespace
         union all
         select format('%s.%s %s', relname, attname, format_type(atttypid, atttypmod))
         from pg_attribute join pg_class c on c.oid = attrelid
         where relnamespace = 'pgmq'::regnamespace and relkind in ('r', 'c') and attnum > 0 and relname !~ '^[qa]_mail$'
         order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// Whether the server offers the extension. Then a new installation uses it.
async fn offers_extension(pool: &PgPool) -> bool {
    sqlx::query_scalar("select exists (select from pg_available_extensions where name = 'pgmq')")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn installing_again_changes_nothing() {
    let (_server, pool) = postgres().await;
    let expected = if offers_extension(&pool).await { Installation::Extension } else { Installation::Sql };
    for _ in 0..2 {
        assert_eq!(install(&pool).await.unwrap(), expected);
    }
    let sent: i64 =
        sqlx::query_scalar("select pgmq.send('q', '{}') from pgmq.create('q')").fetch_one(&pool).await.unwrap();
    assert_eq!(sent, 1);
}

#[tokio::test]
async fn several_processes_may_install_at_once() {
    let (_server, pool) = postgres().await;
    // PostgreSQL does not allow creating an extension twice at the same time, so upgrade a SQL installation instead.
    if offers_extension(&pool).await {
        installed_by_the_crate(&pool, "1.11.0", include_str!("pgmq-1.11.0.sql")).await;
    }
    let (one, other) = tokio::join!(install(&pool), install(&pool));
    assert_eq!((one.unwrap(), other.unwrap()), (Installation::Sql, Installation::Sql));
}

#[tokio::test]
async fn an_installation_of_the_same_version_by_the_crate_is_kept() {
    let (_server, pool) = postgres().await;
    installed_by_the_crate(&pool, "1.13.0", include_str!("../pgmq/pgmq.sql")).await;
    assert_eq!(install(&pool).await.unwrap(), Installation::Sql);
    assert_eq!(migrations(&pool).await, ["pgmq.sql 1.13.0"]);
}

#[tokio::test]
async fn an_older_installation_by_the_crate_is_upgraded() {
    let (server, pool) = postgres().await;
    installed_by_the_crate(&pool, "1.11.0", include_str!("pgmq-1.11.0.sql")).await;
    sqlx::raw_sql("select pgmq.create('mail'); select pgmq.send('mail', '{\"n\": 1}')").execute(&pool).await.unwrap();

    for _ in 0..2 {
        assert_eq!(install(&pool).await.unwrap(), Installation::Sql);
        let upgrades = ["1.11.0--1.11.1.sql 1.11.1", "1.11.1--1.12.0.sql 1.12.0", "1.12.0--1.13.0.sql 1.13.0"];
        let upgrades = upgrades.map(|upgrade| format!("pgmq--{upgrade}"));
        assert_eq!(migrations(&pool).await, [&["pgmq.sql 1.11.0".to_owned()], &upgrades[..]].concat());
    }

    let message: String =
        sqlx::query_scalar("select message::text from pgmq.read('mail', 0, 1)").fetch_one(&pool).await.unwrap();
    assert_eq!(message, r#"{"n": 1}"#);
    // The same objects as in a database that began with the current version.
    sqlx::query("create database fresh").execute(&pool).await.unwrap();
    let fresh = PgPool::connect(&server.database_url("fresh")).await.unwrap();
    installed_by_the_crate(&fresh, "1.13.0", include_str!("../pgmq/pgmq.sql")).await;
    let (upgraded, fresh) = (objects(&pool).await, objects(&fresh).await);
    let only = |ours: &[String], theirs: &[String]| -> Vec<String> {
        ours.iter().filter(|object| !theirs.contains(object)).cloned().collect()
    };
    assert_eq!((only(&upgraded, &fresh), only(&fresh, &upgraded)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_newer_installation_is_left_alone() {
    let (_server, pool) = postgres().await;
    installed_by_the_crate(&pool, "1.100.0", include_str!("../pgmq/pgmq.sql")).await;
    assert_eq!(install(&pool).await.unwrap(), Installation::Sql);
    assert_eq!(migrations(&pool).await, ["pgmq.sql 1.100.0"]);
}

#[tokio::test]
async fn an_installation_that_cannot_be_upgraded_is_left_alone() {
    let (_server, pool) = postgres().await;
    installed_by_the_crate(&pool, "1.4.0", "select 1").await;
    let error = install(&pool).await.unwrap_err();
    assert!(matches!(&error, InstallError::UnknownVersion { installed } if installed == "1.4.0"));
    assert_eq!(
        error.to_string(),
        "PGMQ 1.4.0 is installed, which cannot be upgraded to 1.13.0; upgrade it to 1.11.0 first"
    );
    assert_eq!(migrations(&pool).await, ["pgmq.sql 1.4.0"]);
}

#[tokio::test]
async fn a_foreign_schema_is_left_alone() {
    let (_server, pool) = postgres().await;
    sqlx::query("create schema pgmq").execute(&pool).await.unwrap();
    assert!(matches!(install(&pool).await, Err(InstallError::ForeignSchema)));
}

#[tokio::test]
async fn a_listener_receives_notifications_and_survives_a_restart_of_the_server() {
    let (mut server, pool) = postgres().await;
    install(&pool).await.unwrap();
    sqlx::raw_sql("select pgmq.create('mail'); select pgmq.enable_notify_insert('mail', 0)")
        .execute(&pool)
        .await
        .unwrap();
    let channel = insert_channel("mail");
    let mut listener = Listener::new(&pool, [channel.clone()]);
    assert_eq!(next(&mut listener, "the first connection").await, Event::Connected);

    let send = "select pgmq.send('mail', '{}')";
    sqlx::query(send).execute(&pool).await.unwrap();
    assert!(
        matches!(next(&mut listener, "the first message").await, Event::Notified { channel: received, .. } if received == channel)
    );

    // Not a crash: PGMQ stores which queues notify in an unlogged table, which a crash empties.
    server.interrupt(StopMode::Fast).await.unwrap();
    server.resume().await.unwrap();
    // The listener reports that it may have missed something, and continues.
    assert_eq!(next(&mut listener, "the lost connection").await, Event::Connected);
    let again = PgPool::connect(&server.url()).await.unwrap();
    sqlx::query(send).execute(&again).await.unwrap();
    assert!(matches!(next(&mut listener, "a message on the new connection").await, Event::Notified { .. }));
}
