//! The static SQL of the engine as named constants.
//!
//! [`statements!`] declares every statement, so a test can prepare all of them on a real database. sqlx's checked
//! macros would find the same mistakes at compile time. But every build would then need a database, or a generated file
//! for each statement, and the macros cannot know which results of a function may be null.

/// Declares the statements of a module: `NAME = "select ...";`.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* const $name: &str = $sql;)*
        /// All statements of the module, for the test that prepares them.
        #[cfg(test)]
        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use statements;

#[cfg(test)]
mod tests {
    use local_postgres::{LocalPostgres, Options};
    use sqlx::{Executor, SqlSafeStr};

    use crate::{
        bulk, dead_letters, gates, migrate, observe, operate, queues, retention, schedules, signals, steps, system,
        tasks, templates, traces, workers,
    };

    #[tokio::test]
    async fn every_statement_can_be_prepared() {
        let modules = [
            bulk::STATEMENTS,
            observe::STATEMENTS,
            dead_letters::STATEMENTS,
            gates::STATEMENTS,
            operate::STATEMENTS,
            queues::STATEMENTS,
            retention::STATEMENTS,
            schedules::STATEMENTS,
            signals::STATEMENTS,
            steps::STATEMENTS,
            system::STATEMENTS,
            tasks::STATEMENTS,
            templates::STATEMENTS,
            traces::STATEMENTS,
            workers::STATEMENTS,
        ];
        let postgres = LocalPostgres::start(Options::default()).await.unwrap();
        let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
        migrate(&pool).await.unwrap();
        // This table exists only if PGMQ is installed as plain SQL, not as an extension.
        let plain: bool = sqlx::query_scalar("select to_regclass('pgmq.__pgmq_migrations') is not null")
            .fetch_one(&pool)
            .await
            .unwrap();
        for (name, sql) in modules.concat().into_iter().filter(|(name, _)| plain || *name != "PGMQ_SQL") {
            let prepared = pool.prepare(sql.into_sql_str()).await;
            assert!(prepared.is_ok(), "{name}: {prepared:?}");
        }
        pool.close().await;
    }
}
