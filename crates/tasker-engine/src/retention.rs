//! Retention: deleting old finished tasks, old rejected messages and old events.

use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use crate::Engine;
use crate::arguments::{count, interval};
use crate::statements::statements;

statements! {
    DELETE_FINISHED_TASKS = "select * from tasker.delete_finished_tasks($1, $2, $3, $4)";
    DELETE_OLD_EVENTS = "select tasker.delete_old_events($1, $2, $3)";
    DELETE_REJECTED_MESSAGES = "select tasker.delete_rejected_messages($1, $2)";
}

/// A batch of finished tasks that was deleted with all their rows.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DeletedTasks {
    /// The number of tasks.
    pub tasks: i64,
    /// The number of their steps.
    pub steps: i64,
    /// The number of state changes in their history.
    pub transitions: i64,
    /// The task to continue after. None if there are no more tasks to check.
    pub next: Option<Uuid>,
}

impl Engine {
    /// Deletes tasks of a namespace that became final more than `age` ago. It checks up to `limit` final tasks after
    /// the task `after`, in the order of creation. It does nothing while another call deletes.
    ///
    /// # Errors
    /// When the database fails. Nothing is deleted then.
    pub async fn delete_finished_tasks(
        &self,
        namespace: &str,
        age: Duration,
        after: Option<Uuid>,
        limit: u32,
    ) -> sqlx::Result<DeletedTasks> {
        sqlx::query_as(DELETE_FINISHED_TASKS)
            .bind(namespace)
            .bind(interval(age))
            .bind(after)
            .bind(count(limit))
            .fetch_one(&self.pool)
            .await
    }

    /// Deletes at most `limit` messages that were rejected more than `age` ago, oldest first. Returns the number of
    /// deleted messages. It does nothing while another call deletes.
    ///
    /// # Errors
    /// When the database fails. Nothing is deleted then.
    pub async fn delete_rejected_messages(&self, age: Duration, limit: u32) -> sqlx::Result<i64> {
        sqlx::query_scalar(DELETE_REJECTED_MESSAGES).bind(interval(age)).bind(count(limit)).fetch_one(&self.pool).await
    }

    /// Deletes at most `limit` domain events of a namespace that were published more than `age` ago, oldest first. Returns
    /// the number of deleted events. It does nothing while another call deletes.
    ///
    /// # Errors
    /// When the database fails. Nothing is deleted then.
    pub async fn delete_old_events(&self, namespace: &str, age: Duration, limit: u32) -> sqlx::Result<i64> {
        sqlx::query_scalar(DELETE_OLD_EVENTS)
            .bind(namespace)
            .bind(interval(age))
            .bind(count(limit))
            .fetch_one(&self.pool)
            .await
    }
}
