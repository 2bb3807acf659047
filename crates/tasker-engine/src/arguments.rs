//! Rust values as arguments of the SQL functions, and texts of their results as enums.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::types::PgInterval;

/// A number as `integer`.
pub(crate) fn count(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// A duration as `interval`.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// A text of the database as one of the values of an enum. A text that is none of them is an error.
pub(crate) fn decode<T: FromStr>(text: &str) -> sqlx::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
