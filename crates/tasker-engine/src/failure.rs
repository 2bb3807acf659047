//! Classifies failed calls of the engine. No other place reads SQLSTATEs.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// The class of a failed call. Nothing was written, unless the connection broke during the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The database cannot be reached, is starting or stopping, has ended the session, or has no connections or memory
    /// left. The same call may succeed later.
    Unavailable,
    /// The database can be read but not written: a standby, a read-only database, or a full disk.
    NotWritable,
    /// PostgreSQL cannot store the data of the call. It would refuse the same call again.
    BadData,
    /// A bug: the call or the schema is wrong.
    Bug,
}

impl Failure {
    /// Classifies an error of the database by its SQLSTATE
    /// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>), and every other error by its kind.
    pub fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) => {
                let class = database.code().map_or(Self::Bug, |code| Self::of_sqlstate(&code));
                let severity = database.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
                match (class, severity) {
                    // PostgreSQL has ended the session: for example, it cannot start one while its disk is full.
                    (Self::Bug, Some(PgSeverity::Fatal | PgSeverity::Panic)) => Self::Unavailable,
                    (class, _) => class,
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Self::Unavailable,
            sqlx::Error::Encode(_) => Self::BadData,
            _ => Self::Bug,
        }
    }

    fn of_sqlstate(code: &str) -> Self {
        match code {
            // read_only_sql_transaction, disk_full
            "25006" | "53100" => Self::NotWritable,
            // Connection exception, insufficient resources, operator intervention.
            _ if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => Self::Unavailable,
            // Data exception, constraint violation, program limit exceeded.
            _ if ["22", "23", "54"].iter().any(|class| code.starts_with(class)) => Self::BadData,
            _ => Self::Bug,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_have_one_meaning_each() {
        for (code, meaning) in [
            ("08006", Failure::Unavailable),
            ("53300", Failure::Unavailable),
            ("57P01", Failure::Unavailable),
            ("53100", Failure::NotWritable),
            ("25006", Failure::NotWritable),
            ("22P05", Failure::BadData),
            ("23514", Failure::BadData),
            ("54000", Failure::BadData),
            ("42P01", Failure::Bug),
            // Locks are always taken in one order, so a deadlock is a bug and must be seen.
            ("40P01", Failure::Bug),
        ] {
            assert_eq!(Failure::of_sqlstate(code), meaning, "{code}");
        }
        assert_eq!(Failure::of(&sqlx::Error::PoolTimedOut), Failure::Unavailable);
        assert_eq!(Failure::of(&sqlx::Error::RowNotFound), Failure::Bug);
    }
}
