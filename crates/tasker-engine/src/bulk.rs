//! Bulk jobs: operators' actions on all tasks that match a filter.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::types::Json;
use tasker_api::{BulkAction, BulkJob, BulkStatus, TaskConditions};
use uuid::Uuid;

use crate::statements::statements;
use crate::{Engine, TaskPage};

statements! {
    CREATE_BULK_JOB = "select tasker.create_bulk_job($1, $2, $3, $4, $5, $6)";
    GET_BULK_JOB = "select * from tasker.bulk_jobs where job_id = $1";
    LIST_BULK_JOBS = "select * from tasker.bulk_jobs where $1 or status = 'running' order by job_id desc limit $2";
    RUN_BULK_BATCH = "select tasker.run_bulk_batch($1, $2, $3, $4, $5)";
    END_BULK_JOB = "select coalesce(tasker.end_bulk_job($1, $2, $3), false)";
}

/// The steps of one batch's tasks, together. One task may have more.
const MAX_STEPS_OF_BATCH: i32 = 10_000;

/// A job to be created.
#[derive(Debug, Clone)]
pub struct NewBulkJob<'a> {
    /// Its id, a UUIDv7: only tasks with smaller ids are changed.
    pub id: Uuid,
    /// What to do.
    pub action: BulkAction,
    /// The tasks.
    pub filter: &'a TaskConditions,
    /// The namespaces that the caller may use. None: every one.
    pub namespaces: Option<&'a [String]>,
    /// Who acts.
    pub actor: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
}

/// A stored job, with what its next batch needs.
#[derive(Debug, Clone)]
pub struct StoredBulkJob {
    /// The job.
    pub job: BulkJob,
    /// The namespaces of the caller. None: every one.
    pub namespaces: Option<Vec<String>>,
    /// The next batch has tasks with smaller ids.
    pub before: Uuid,
}

#[derive(FromRow)]
struct JobRow {
    job_id: Uuid,
    action: String,
    filter: Json<TaskConditions>,
    namespaces: Option<Vec<String>>,
    actor: Option<String>,
    reason: Option<String>,
    status: String,
    error: Option<String>,
    before: Uuid,
    examined: i64,
    done: i64,
    skipped: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<JobRow> for StoredBulkJob {
    fn from(row: JobRow) -> Self {
        let action = match row.action.as_str() {
            "cancel" => BulkAction::Cancel,
            "fail" => BulkAction::Fail,
            _ => BulkAction::Retry,
        };
        let status = match row.status.as_str() {
            "running" => BulkStatus::Running,
            "completed" => BulkStatus::Completed,
            "stopped" => BulkStatus::Stopped,
            _ => BulkStatus::Failed,
        };
        let job = BulkJob {
            id: row.job_id,
            action,
            filter: row.filter.0,
            actor: row.actor,
            reason: row.reason,
            status,
            examined: row.examined,
            done: row.done,
            skipped: row.skipped,
            error: row.error,
            created_at: row.created_at,
            updated_at: row.updated_at,
            finished_at: row.finished_at,
        };
        Self { job, namespaces: row.namespaces, before: row.before }
    }
}

impl Engine {
    /// Stores a job. A server works on it later.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_bulk_job(&self, job: &NewBulkJob<'_>) -> sqlx::Result<()> {
        sqlx::query(CREATE_BULK_JOB)
            .bind(job.id)
            .bind(job.action.as_str())
            .bind(Json(job.filter))
            .bind(job.namespaces)
            .bind(job.actor)
            .bind(job.reason)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Returns a job. None if it does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_bulk_job(&self, id: Uuid) -> sqlx::Result<Option<StoredBulkJob>> {
        let row: Option<JobRow> = sqlx::query_as(GET_BULK_JOB).bind(id).fetch_optional(&self.pool).await?;
        Ok(row.map(StoredBulkJob::from))
    }

    /// Lists the newest jobs, or only those that are running.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_bulk_jobs(&self, ended_too: bool, limit: u32) -> sqlx::Result<Vec<StoredBulkJob>> {
        let rows: Vec<JobRow> =
            sqlx::query_as(LIST_BULK_JOBS).bind(ended_too).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(StoredBulkJob::from).collect())
    }

    /// Applies the action of a job to a page of its tasks, and records the progress, in one transaction. Returns false if
    /// the job has ended, if another server has got further, or works on it now.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed then.
    pub async fn run_bulk_batch(&self, job: &StoredBulkJob, page: &TaskPage<Uuid>) -> sqlx::Result<bool> {
        sqlx::query_scalar(RUN_BULK_BATCH)
            .bind(job.job.id)
            .bind(job.before)
            .bind(&page.tasks)
            .bind(page.next)
            .bind(MAX_STEPS_OF_BATCH)
            .fetch_one(&self.pool)
            .await
    }

    /// Ends a job before it is complete: with an error, or because an operator stops it. Returns false if it has ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_bulk_job(&self, id: Uuid, error: Option<&str>) -> sqlx::Result<bool> {
        let status = if error.is_some() { "failed" } else { "stopped" };
        sqlx::query_scalar(END_BULK_JOB).bind(id).bind(status).bind(error).fetch_one(&self.pool).await
    }
}
