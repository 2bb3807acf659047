//! Deleting what is kept no longer.

use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use crate::Engine;
use crate::steps::{count, interval};

/// A batch of finished tasks that was deleted, with all their rows.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeletedTasks {
    /// How many tasks.
    pub tasks: i64,
    /// How many steps they had.
    pub steps: i64,
    /// How many changes of state their history had.
    pub transitions: i64,
    /// Where to look on; none where nothing is left to see.
    pub next: Option<Uuid>,
}

impl Engine {
    /// Deletes tasks of a namespace that became final more than `age` ago. Looks at up to `limit` of the final ones after the task
    /// `after`, in the order of their creation. Does nothing while somebody else deletes.
    ///
    /// # Errors
    /// When the database fails; nothing is deleted then.
    pub async fn delete_finished_tasks(
        &self,
        namespace: &str,
        age: Duration,
        after: Option<Uuid>,
        limit: u32,
    ) -> sqlx::Result<DeletedTasks> {
        sqlx::query_as("select * from tasker.delete_finished_tasks($1, $2, $3, $4)")
            .bind(namespace)
            .bind(interval(age))
            .bind(after)
            .bind(count(limit))
            .fetch_one(&self.pool)
            .await
    }

    /// Deletes messages that were set aside more than `age` ago, up to `limit`; returns how many. Does nothing while somebody else
    /// deletes.
    ///
    /// # Errors
    /// When the database fails; nothing is deleted then.
    pub async fn delete_rejected_messages(&self, age: Duration, limit: u32) -> sqlx::Result<i64> {
        sqlx::query_scalar("select tasker.delete_rejected_messages($1, $2)")
            .bind(interval(age))
            .bind(count(limit))
            .fetch_one(&self.pool)
            .await
    }
}
