//! Runs random cases of a model, each with a template of its own.

use std::cell::Cell;
use std::fmt::Debug;

use anyhow::Result;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use sqlx::PgPool;
use tasker_engine::database::pool_options;

use crate::support::database;

/// Replays random cases on one database, with a pool of one session and the name of a template. `PROPTEST_CASES` replaces
/// the number of cases.
pub(crate) fn replay_cases<C: Debug + Send + Sync + 'static>(
    cases: u32,
    case: impl Strategy<Value = C>,
    replay: impl AsyncFn(&PgPool, &str, &C) -> Result<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (postgres, pool) = runtime.block_on(async {
        let postgres = database().await?;
        let pool = pool_options().max_connections(1).connect(&postgres.url()).await?;
        anyhow::Ok((postgres, pool))
    })?;
    let configured = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { configured.cases } else { cases };
    // A failure prints its actions. They are enough to reproduce it.
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..configured });
    let names = Cell::new(0);
    let outcome = runner.run(&case, |case| {
        let name = format!("t{}", names.replace(names.get() + 1));
        runtime.block_on(replay(&pool, &name, &case)).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    runtime.block_on(pool.close());
    drop(postgres);
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, case)) => anyhow::bail!("{reason}\n{case:#?}"),
        Err(error) => Err(error.into()),
    }
}
