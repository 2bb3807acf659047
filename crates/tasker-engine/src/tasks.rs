//! Creating and reading tasks.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, Type};
use tasker_api::{StepDetail, TaskDetail, TaskState, TaskSummary, Transition};
use uuid::Uuid;

use crate::Engine;
use crate::arguments::decode;
use crate::statements::statements;

/// A task to be created.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its id, a UUIDv7.
    pub task_id: Uuid,
    /// The version of the template: [`StoredTemplate::template_id`](crate::StoredTemplate::template_id).
    pub template_id: i64,
    /// Whether the request named no version. The template must then be the newest one.
    pub latest: bool,
    /// Its input.
    pub context: Value,
    /// Its priority, 0 to 100.
    pub priority: i16,
    /// Its tags.
    pub tags: Option<Value>,
    /// Its idempotency key, with a digest of the request.
    pub idempotency: Option<(String, Vec<u8>)>,
}

/// The outcome of a [`NewTask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The task is stored durably, and its first steps are in the queue. Contains the time of creation.
    Created(DateTime<Utc>),
    /// The same request used this idempotency key before. Contains its task.
    Existing(Uuid),
    /// Another request used this idempotency key before. Contains its task.
    Conflict(Uuid),
    /// The template has a newer version or was deleted. The caller must look it up again.
    Outdated,
}

/// Selects the tasks of a list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only tasks of these namespaces. None: of every namespace.
    pub namespaces: Option<Vec<String>>,
    /// Only tasks in this state.
    pub status: Option<TaskState>,
    /// Only tasks created before this one.
    pub before: Option<Uuid>,
    /// The maximum number of tasks.
    pub limit: i64,
}

/// The columns of a [`TaskRow`].
macro_rules! summary_columns {
    () => {
        "t.task_id, t.namespace, tt.name, tt.version, t.state::text as state, t.total_steps, t.completed_steps,
         t.failed_steps, t.priority, t.tags, t.created_at, t.started_at, t.completed_at"
    };
}

/// The steps of task `t` as a JSON array of [`StepDetail`]. One statement reads a whole task, so its parts are
/// consistent. The type is `json`, because PostgreSQL builds it in one pass, and it can be four times as large as
/// `jsonb`.
macro_rules! steps_column {
    () => {
        "(select coalesce(json_agg(json_build_object(
            'name', ts.name, 'status', s.state, 'attempts', s.attempts, 'max_attempts', ts.max_attempts,
            'dependencies', array(
                select d.name from unnest(ts.dependencies) with ordinality n(step_no, nth)
                join tasker.template_steps d on d.template_id = ts.template_id and d.step_no = n.step_no
                order by n.nth),
            'result', s.result, 'error', s.error, 'worker_id', s.worker_id,
            'started_at', s.started_at, 'completed_at', s.completed_at) order by s.step_no), '[]')
        from tasker.steps s
        join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = s.step_no
        where s.task_id = t.task_id) as steps"
    };
}

statements! {
    CREATE_TASKS = "select task_id, outcome, created_at from tasker.create_tasks($1, $2, $3, $4, $5, $6, $7, $8)
        order by ordinal";
    GET_SUMMARY = concat!(
        "select ", summary_columns!(),
        " from tasker.tasks t join tasker.task_templates tt using (template_id) where t.task_id = $1"
    );
    GET_TASKS = concat!(
        "select ", summary_columns!(), ", t.context, (select f.forked_from from tasker.forks f where f.task_id = t.task_id) as forked_from,
         array(select f.task_id from tasker.forks f where f.forked_from = t.task_id order by f.task_id) as forks, ",
        steps_column!(),
        " from tasker.tasks t join tasker.task_templates tt using (template_id) where t.task_id = any ($1)"
    );
    LIST_STEPS = concat!("select ", steps_column!(), " from tasker.tasks t where t.task_id = $1");
    LIST_TASKS = concat!(
        "select ", summary_columns!(),
        " from (
              select l.* from unnest($1::text[]) n(namespace)
              cross join lateral tasker.list_tasks(n.namespace, $2::tasker.state[], $3, $4) l
              order by l.task_id desc limit $4) t
          join tasker.task_templates tt using (template_id)
          order by t.task_id desc"
    );
    AT_REST = "select i.task_id from unnest($1::uuid[]) i(task_id)
        where not exists (
            select from tasker.tasks t where t.task_id = i.task_id and t.state in ('pending', 'in_progress'))";
    LIST_TRANSITIONS = "select r.at, ts.name as step, r.attempt, r.from_state::text, r.to_state::text, r.actor, r.reason
        from tasker.transitions r
        join tasker.tasks t using (task_id)
        left join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = r.step_no
        where r.task_id = $1 order by r.transition_id";
}

/// The name of a [`CreateOutcome`] in the database.
#[derive(Debug, Clone, Copy, Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum OutcomeName {
    Created,
    Existing,
    Conflict,
    Outdated,
}

#[derive(FromRow)]
struct TaskRow {
    task_id: Uuid,
    namespace: String,
    name: String,
    version: String,
    state: String,
    total_steps: i16,
    completed_steps: i16,
    failed_steps: i16,
    priority: i16,
    tags: Option<Value>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct DetailRow {
    #[sqlx(flatten)]
    task: TaskRow,
    context: Value,
    forked_from: Option<Uuid>,
    forks: Vec<Uuid>,
    steps: Json<Vec<StepDetail>>,
}

#[derive(FromRow)]
struct TransitionRow {
    at: DateTime<Utc>,
    step: Option<String>,
    attempt: Option<i16>,
    from_state: Option<String>,
    to_state: String,
    actor: Option<String>,
    reason: Option<String>,
}

fn summary(row: TaskRow) -> sqlx::Result<TaskSummary> {
    let percentage = i32::from(row.completed_steps) * 100 / i32::from(row.total_steps.max(1));
    Ok(TaskSummary {
        task_uuid: row.task_id,
        namespace: row.namespace,
        name: row.name,
        version: row.version,
        status: decode(&row.state)?,
        completion_percentage: u8::try_from(percentage).unwrap_or(100),
        total_steps: row.total_steps,
        completed_steps: row.completed_steps,
        failed_steps: row.failed_steps,
        priority: row.priority,
        tags: row.tags,
        created_at: row.created_at,
        started_at: row.started_at,
        completed_at: row.completed_at,
    })
}

impl Engine {
    /// Creates a batch of tasks in one durable transaction. Returns one outcome for each task, in the same order.
    ///
    /// # Errors
    /// When the database fails. No task is created then.
    pub async fn create_tasks(&self, tasks: &[NewTask]) -> sqlx::Result<Vec<CreateOutcome>> {
        let column = |of: fn(&NewTask) -> i64| tasks.iter().map(of).collect::<Vec<_>>();
        let (keys, hashes): (Vec<_>, Vec<_>) = tasks
            .iter()
            .map(|task| task.idempotency.as_ref().map(|(key, hash)| (key.as_str(), hash.as_slice())).unzip())
            .unzip();
        let rows: Vec<(Uuid, OutcomeName, DateTime<Utc>)> = sqlx::query_as(CREATE_TASKS)
            .bind(tasks.iter().map(|task| task.task_id).collect::<Vec<_>>())
            .bind(column(|task| task.template_id))
            .bind(tasks.iter().map(|task| task.latest).collect::<Vec<_>>())
            .bind(tasks.iter().map(|task| &task.context).collect::<Vec<_>>())
            .bind(tasks.iter().map(|task| task.priority).collect::<Vec<_>>())
            .bind(tasks.iter().map(|task| task.tags.as_ref()).collect::<Vec<_>>())
            .bind(keys)
            .bind(hashes)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|(task_id, outcome, created_at)| match outcome {
                OutcomeName::Created => CreateOutcome::Created(created_at),
                OutcomeName::Existing => CreateOutcome::Existing(task_id),
                OutcomeName::Conflict => CreateOutcome::Conflict(task_id),
                OutcomeName::Outdated => CreateOutcome::Outdated,
            })
            .collect())
    }

    /// Returns a task without its input and steps. None if the task does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_task_summary(&self, task_id: Uuid) -> sqlx::Result<Option<TaskSummary>> {
        let row: Option<TaskRow> = sqlx::query_as(GET_SUMMARY).bind(task_id).fetch_optional(&self.pool).await?;
        row.map(summary).transpose()
    }

    /// Returns a task with its input and steps, from one snapshot. None if the task does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_task(&self, task_id: Uuid) -> sqlx::Result<Option<TaskDetail>> {
        Ok(self.get_tasks(&[task_id]).await?.pop())
    }

    /// Returns those of the tasks that exist, with their inputs and steps, from one snapshot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_tasks(&self, task_ids: &[Uuid]) -> sqlx::Result<Vec<TaskDetail>> {
        let rows: Vec<DetailRow> = sqlx::query_as(GET_TASKS).bind(task_ids).fetch_all(&self.pool).await?;
        rows.into_iter()
            .map(|DetailRow { task, context, forked_from, forks, steps }| {
                Ok(TaskDetail { summary: summary(task)?, context, forked_from, forks, steps: steps.0 })
            })
            .collect()
    }

    /// Returns the steps of a task in the order of its template. None if the task does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_steps(&self, task_id: Uuid) -> sqlx::Result<Option<Vec<StepDetail>>> {
        let steps: Option<Json<Vec<StepDetail>>> =
            sqlx::query_scalar(LIST_STEPS).bind(task_id).fetch_optional(&self.pool).await?;
        Ok(steps.map(|steps| steps.0))
    }

    /// Lists tasks, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_tasks(&self, filter: &TaskFilter) -> sqlx::Result<Vec<TaskSummary>> {
        let rows: Vec<TaskRow> = sqlx::query_as(LIST_TASKS)
            .bind(match &filter.namespaces {
                Some(names) => names.iter().collect::<HashSet<_>>().into_iter().map(Some).collect(),
                // A null stands for every namespace.
                None => vec![None],
            })
            .bind(match filter.status {
                Some(state) => vec![state.as_str()],
                None => TaskState::ALL.iter().map(|state| state.as_str()).collect(),
            })
            .bind(filter.before)
            .bind(filter.limit)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(summary).collect()
    }

    /// Returns those of the given tasks that are at rest: final, blocked by failures, or unknown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn at_rest(&self, task_ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar(AT_REST).bind(task_ids).fetch_all(&self.pool).await
    }

    /// Lists every change of state of a task and its steps, oldest first. Empty if the task does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_transitions(&self, task_id: Uuid) -> sqlx::Result<Vec<Transition>> {
        let rows: Vec<TransitionRow> = sqlx::query_as(LIST_TRANSITIONS).bind(task_id).fetch_all(&self.pool).await?;
        Ok(rows
            .into_iter()
            .map(|row| Transition {
                at: row.at,
                step: row.step,
                attempt: row.attempt,
                from: row.from_state,
                to: row.to_state,
                actor: row.actor,
                reason: row.reason,
            })
            .collect())
    }
}
