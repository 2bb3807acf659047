//! Converts Rust values to arguments of the SQL functions, and texts in their results to enums.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::types::PgInterval;

/// Converts a number to `integer`. Larger numbers become the largest `integer`.
pub(crate) fn count(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Converts a duration to `interval`. Longer durations become the longest `interval`.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// Converts a text of the database to a value of an enum. An unknown text is an error.
pub(crate) fn decode<T: FromStr>(text: &str) -> sqlx::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
