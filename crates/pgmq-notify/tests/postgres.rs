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
    tokio::time::timeout(DEADLINE, listener.next()).await.unwrap_or_else(|_| panic!("nothing heard: {what}"))
}

#[tokio::test]
async fn installing_again_changes_nothing() {
    let (_server, pool) = postgres().await;
    // Where the server offers the extension that is what is taken; the two are never mixed.
    let offered: bool = sqlx::query_scalar("select exists (select from pg_available_extensions where name = 'pgmq')")
        .fetch_one(&pool)
        .await
        .unwrap();
    let expected = if offered { Installation::Extension } else { Installation::Sql };
    for _ in 0..2 {
        assert_eq!(install(&pool).await.unwrap(), expected);
    }
    let sent: i64 =
        sqlx::query_scalar("select pgmq.send('q', '{}') from pgmq.create('q')").fetch_one(&pool).await.unwrap();
    assert_eq!(sent, 1);
}

#[tokio::test]
async fn somebody_elses_schema_is_left_alone() {
    let (_server, pool) = postgres().await;
    sqlx::query("create schema pgmq").execute(&pool).await.unwrap();
    assert!(matches!(install(&pool).await, Err(InstallError::ForeignSchema)));
}

#[tokio::test]
async fn a_listener_hears_of_messages_and_survives_the_server() {
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
        matches!(next(&mut listener, "the first message").await, Event::Notified { channel: heard, .. } if heard == channel)
    );

    // Not as in a crash: PGMQ keeps whom to notify in an unlogged table, which a crash empties.
    server.interrupt(StopMode::Fast).await.unwrap();
    server.resume().await.unwrap();
    // Something may have been missed: the listener says so, and goes on.
    assert_eq!(next(&mut listener, "the lost connection").await, Event::Connected);
    let again = PgPool::connect(&server.url()).await.unwrap();
    sqlx::query(send).execute(&again).await.unwrap();
    assert!(matches!(next(&mut listener, "a message on the new connection").await, Event::Notified { .. }));
}
