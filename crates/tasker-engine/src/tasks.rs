//! Creating and reading tasks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, Type};
use tasker_api::{StepDetail, TaskDetail, TaskState, TaskSummary, Transition};
use uuid::Uuid;

use crate::Engine;
use crate::arguments::{count, decode};
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
    /// The values by which it can be found, each with its name: tags, and what its template calls searchable. A tag
    /// without a name has the empty name.
    pub values: Vec<(String, String)>,
    /// The place in a trace where it is created, as a W3C `traceparent`. Workers continue the trace there.
    pub traceparent: Option<String>,
}

impl NewTask {
    /// A task of the newest version of a template, with a new id and this input, and nothing else.
    pub fn new(template_id: i64, context: Value) -> Self {
        Self {
            task_id: Uuid::now_v7(),
            template_id,
            latest: true,
            context,
            priority: 0,
            tags: None,
            idempotency: None,
            values: Vec::new(),
            traceparent: None,
        }
    }
}

/// Who repeats a task, and which one.
#[derive(Debug, Clone)]
pub struct Rerun {
    /// The task whose input the new task has.
    pub of: Uuid,
    /// Who acts.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
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

/// Selects the tasks of a list. None means every task.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only tasks of these namespaces.
    pub namespaces: Option<Vec<String>>,
    /// Only tasks in these states.
    pub states: Option<Vec<TaskState>>,
    /// Only tasks of templates with this name.
    pub template: Option<String>,
    /// Only tasks of this version of the template.
    pub version: Option<String>,
    /// Only tasks with this value of this name: see [`NewTask::values`].
    pub value: Option<(String, String)>,
    /// Only the task with this idempotency key.
    pub idempotency_key: Option<String>,
    /// Only tasks with this id, or whose id starts with these eight or more digits, with this idempotency key, or with
    /// this value of any name.
    pub text: Option<String>,
    /// Only tasks whose id is this one or larger.
    pub from: Option<Uuid>,
    /// Only tasks whose id is smaller than this one.
    pub before: Option<Uuid>,
}

/// A page of a list of tasks.
#[derive(Debug, Clone, Default)]
pub struct TaskPage<T> {
    /// The tasks, newest first. There may be fewer than asked for, or none, although there are more pages.
    pub tasks: Vec<T>,
    /// The [`TaskFilter::before`] of the next page. None on the last page.
    pub next: Option<Uuid>,
}

/// A search looks at no more tasks than this for one page.
const MAX_SCAN: i32 = 5_000;

/// The columns of a [`TaskRow`].
macro_rules! summary_columns {
    () => {
        "t.task_id, t.namespace, tt.name, tt.version, t.state::text as state, t.total_steps, t.completed_steps,
         t.failed_steps, t.priority, t.tags, t.created_at, t.started_at, t.completed_at,
         (select json_object_agg(v.name, v.value) from tasker.task_values v
          where v.task_id = t.task_id and v.name like '/%') as searchable"
    };
}

/// The steps of task `t` as a JSON array of [`StepDetail`]. One statement reads a whole task, so its parts are
/// consistent. The type is `json`, because PostgreSQL builds it in one pass, and it can be four times as large as
/// `jsonb`.
macro_rules! steps_column {
    () => {
        "(select coalesce(json_agg(json_build_object(
            'name', coalesce(s.name, ts.name), 'callable', ts.callable, 'status', s.state, 'attempts', s.attempts, 'max_attempts', ts.max_attempts,
            'dependencies', array(
                select d.name from unnest(ts.dependencies) with ordinality n(step_no, nth)
                join tasker.template_steps d on d.template_id = ts.template_id and d.step_no = n.step_no
                order by n.nth),
            'result', case when $2 then s.result end, 'error', s.error, 'worker_id', s.worker_id,
            'started_at', s.started_at, 'completed_at', s.completed_at, 'due_at', s.due_at) order by s.step_no), '[]')
        from tasker.steps s
        join tasker.template_steps ts
            on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
        where s.task_id = t.task_id and ($3::text is null or coalesce(s.name, ts.name) = $3)) as steps"
    };
}

statements! {
    CREATE_TASKS = "select task_id, outcome, created_at from tasker.create_tasks($1, $2, $3, $4, $5, $6, $7, $8, $9)
        order by ordinal";
    CREATE_FINDABLE_TASKS = "select task_id, outcome, created_at
        from tasker.create_findable_tasks($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) order by ordinal";
    RERUN_TASK = "select task_id, outcome, created_at
        from tasker.rerun_task($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    GET_SUMMARY = concat!(
        "select ", summary_columns!(),
        " from tasker.tasks t join tasker.task_templates tt using (template_id) where t.task_id = $1"
    );
    GET_TASKS = concat!(
        "select ", summary_columns!(), ", t.context, t.idempotency_key, e.actor as ended_by, e.reason as end_reason,
          case when t.completed_at is null then t.created_at + tt.max_duration_minutes * interval '1 minute' end as deadline,
          (select r.rerun_of from tasker.reruns r where r.task_id = t.task_id) as rerun_of,
          (select f.forked_from from tasker.forks f where f.task_id = t.task_id) as forked_from,
          array(select f.task_id from tasker.forks f where f.forked_from = t.task_id order by f.task_id) as forks, ",
        steps_column!(),
        " from tasker.tasks t join tasker.task_templates tt using (template_id)
          left join lateral (
              select r.actor, r.reason from tasker.transitions r
              where r.task_id = t.task_id and r.step_no is null order by r.transition_id desc limit 1
          ) e on t.state in ('failed', 'cancelled')
          where t.task_id = any ($1)"
    );
    LIST_STEPS = concat!("select ", steps_column!(), " from tasker.tasks t where t.task_id = $1");
    FIND_TASKS = "select task_ids, next
        from tasker.find_tasks($1, $2::tasker.state[], $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    GET_SUMMARIES = concat!(
        "select ", summary_columns!(),
        " from unnest($1::uuid[]) i(task_id) join tasker.tasks t using (task_id)
          join tasker.task_templates tt using (template_id) order by t.task_id desc"
    );
    AT_REST = "select i.task_id from unnest($1::uuid[]) i(task_id)
        where not exists (
            select from tasker.tasks t where t.task_id = i.task_id and t.state in ('pending', 'in_progress'))";
    LIST_TRANSITIONS = "select r.transition_id, r.at, coalesce(s.name, ts.name) as step, r.attempt, r.from_state::text, r.to_state::text,
            r.actor, r.reason, r.error_kind
        from tasker.transitions r
        join tasker.tasks t using (task_id)
        left join tasker.steps s on s.task_id = r.task_id and s.step_no = r.step_no
        left join tasker.template_steps ts
            on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
        where r.task_id = $1 and r.transition_id > $2 and ($3::text is null or coalesce(s.name, ts.name) = $3)
        order by r.transition_id limit $4";
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
struct CreatedRow {
    task_id: Uuid,
    outcome: OutcomeName,
    created_at: DateTime<Utc>,
}

impl CreatedRow {
    fn outcome(self) -> CreateOutcome {
        match self.outcome {
            OutcomeName::Created => CreateOutcome::Created(self.created_at),
            OutcomeName::Existing => CreateOutcome::Existing(self.task_id),
            OutcomeName::Conflict => CreateOutcome::Conflict(self.task_id),
            OutcomeName::Outdated => CreateOutcome::Outdated,
        }
    }
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
    searchable: Option<Json<BTreeMap<String, String>>>,
}

#[derive(FromRow)]
struct DetailRow {
    #[sqlx(flatten)]
    task: TaskRow,
    context: Value,
    idempotency_key: Option<String>,
    deadline: Option<DateTime<Utc>>,
    ended_by: Option<String>,
    end_reason: Option<String>,
    rerun_of: Option<Uuid>,
    forked_from: Option<Uuid>,
    forks: Vec<Uuid>,
    steps: Json<Vec<StepDetail>>,
}

#[derive(FromRow)]
struct TransitionRow {
    transition_id: i64,
    at: DateTime<Utc>,
    step: Option<String>,
    attempt: Option<i16>,
    from_state: Option<String>,
    to_state: String,
    actor: Option<String>,
    reason: Option<String>,
    error_kind: Option<String>,
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
        searchable: row.searchable.map(|values| values.0),
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
        let statement =
            if tasks.iter().all(|task| task.values.is_empty()) { CREATE_TASKS } else { CREATE_FINDABLE_TASKS };
        let mut query = sqlx::query_as(statement)
            .bind(tasks.iter().map(|task| task.task_id).collect::<Vec<_>>())
            .bind(column(|task| task.template_id))
            .bind(tasks.iter().map(|task| task.latest).collect::<Vec<_>>())
            .bind(tasks.iter().map(|task| &task.context).collect::<Vec<_>>())
            .bind(tasks.iter().map(|task| task.priority).collect::<Vec<_>>())
            .bind(tasks.iter().map(|task| task.tags.as_ref()).collect::<Vec<_>>())
            .bind(keys)
            .bind(hashes)
            .bind(tasks.iter().map(|task| task.traceparent.as_deref()).collect::<Vec<_>>());
        if statement == CREATE_FINDABLE_TASKS {
            let values = || tasks.iter().flat_map(|task| task.values.iter().map(|value| (task.task_id, value)));
            query = query
                .bind(values().map(|(task_id, _)| task_id).collect::<Vec<_>>())
                .bind(values().map(|(_, (name, _))| name.as_str()).collect::<Vec<_>>())
                .bind(values().map(|(_, (_, value))| value.as_str()).collect::<Vec<_>>());
        }
        let rows: Vec<CreatedRow> = query.fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(CreatedRow::outcome).collect())
    }

    /// Creates a task, and records whose rerun it is.
    ///
    /// # Errors
    /// When the database fails. The task is not created then.
    pub async fn rerun_task(&self, task: &NewTask, rerun: &Rerun) -> sqlx::Result<CreateOutcome> {
        let (key, hash) = task.idempotency.as_ref().map(|(key, hash)| (key.as_str(), hash.as_slice())).unzip();
        let row: CreatedRow = sqlx::query_as(RERUN_TASK)
            .bind(rerun.of)
            .bind(rerun.actor.as_deref())
            .bind(rerun.reason.as_deref())
            .bind(task.task_id)
            .bind(task.template_id)
            .bind(task.latest)
            .bind(&task.context)
            .bind(task.priority)
            .bind(task.tags.as_ref())
            .bind(key)
            .bind(hash)
            .bind(task.traceparent.as_deref())
            .bind(task.values.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>())
            .bind(task.values.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>())
            .fetch_one(&self.pool)
            .await?;
        Ok(row.outcome())
    }

    /// Returns a task without its input and steps. None if the task does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_task_summary(&self, task_id: Uuid) -> sqlx::Result<Option<TaskSummary>> {
        let row: Option<TaskRow> = sqlx::query_as(GET_SUMMARY).bind(task_id).fetch_optional(&self.pool).await?;
        row.map(summary).transpose()
    }

    /// Returns a task with its input and steps, from one snapshot. Without `results`, the steps have none. None if the task
    /// does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_task(&self, task_id: Uuid, results: bool) -> sqlx::Result<Option<TaskDetail>> {
        Ok(self.get_tasks(&[task_id], results).await?.pop())
    }

    /// Returns those of the tasks that exist, with their inputs and steps, from one snapshot. Without `results`, the steps
    /// have none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_tasks(&self, task_ids: &[Uuid], results: bool) -> sqlx::Result<Vec<TaskDetail>> {
        let rows: Vec<DetailRow> =
            sqlx::query_as(GET_TASKS).bind(task_ids).bind(results).bind(None::<&str>).fetch_all(&self.pool).await?;
        rows.into_iter()
            .map(|row| {
                Ok(TaskDetail {
                    summary: summary(row.task)?,
                    context: row.context,
                    deadline: row.deadline,
                    ended_by: row.ended_by,
                    end_reason: row.end_reason,
                    forked_from: row.forked_from,
                    forks: row.forks,
                    idempotency_key: row.idempotency_key,
                    rerun_of: row.rerun_of,
                    steps: row.steps.0,
                })
            })
            .collect()
    }

    /// Returns the steps of a task in the order of its template, or only the one with the name `step`. Without `results`,
    /// they have none. None if the task does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_steps(
        &self,
        task_id: Uuid,
        results: bool,
        step: Option<&str>,
    ) -> sqlx::Result<Option<Vec<StepDetail>>> {
        let steps: Option<Json<Vec<StepDetail>>> =
            sqlx::query_scalar(LIST_STEPS).bind(task_id).bind(results).bind(step).fetch_optional(&self.pool).await?;
        Ok(steps.map(|steps| steps.0))
    }

    /// Returns a page of the matching tasks, newest first, with at most `limit` tasks.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_tasks(&self, filter: &TaskFilter, limit: u32) -> sqlx::Result<TaskPage<TaskSummary>> {
        let TaskPage { tasks, next } = self.find_tasks(filter, limit).await?;
        Ok(TaskPage { tasks: self.get_task_summaries(&tasks).await?, next })
    }

    /// Returns the ids of a page of the matching tasks, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_tasks(&self, filter: &TaskFilter, limit: u32) -> sqlx::Result<TaskPage<Uuid>> {
        let limit = count(limit);
        // One more task than requested shows whether there is a next page. Other conditions than those of the index need
        // more tasks to look at.
        let indexed = filter.template.is_none() && filter.value.is_none() && filter.text.is_none();
        let scan = if indexed { limit.saturating_add(1) } else { MAX_SCAN.max(limit.saturating_add(1)) };
        let (name, value) = filter.value.as_ref().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
        let states = filter.states.as_ref();
        let row: (Vec<Uuid>, Option<Uuid>) = sqlx::query_as(FIND_TASKS)
            .bind(filter.namespaces.as_deref())
            .bind(states.map(|states| states.iter().map(|state| state.as_str()).collect::<Vec<_>>()))
            .bind(filter.template.as_deref())
            .bind(filter.version.as_deref())
            .bind(name)
            .bind(value)
            .bind(filter.idempotency_key.as_deref())
            .bind(filter.text.as_ref().and_then(|text| text.parse::<Uuid>().ok()))
            .bind(filter.text.as_deref())
            .bind(filter.from)
            .bind(filter.before)
            .bind(limit)
            .bind(scan)
            .fetch_one(&self.pool)
            .await?;
        Ok(TaskPage { tasks: row.0, next: row.1 })
    }

    /// Returns those of the given tasks that exist, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_task_summaries(&self, task_ids: &[Uuid]) -> sqlx::Result<Vec<TaskSummary>> {
        let rows: Vec<TaskRow> = sqlx::query_as(GET_SUMMARIES).bind(task_ids).fetch_all(&self.pool).await?;
        rows.into_iter().map(summary).collect()
    }

    /// Returns those of the given tasks that are at rest: final, blocked by failures, or unknown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn at_rest(&self, task_ids: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
        sqlx::query_scalar(AT_REST).bind(task_ids).fetch_all(&self.pool).await
    }

    /// Lists the changes of state of a task and its steps, or of one step, oldest first: those after the change `after`, at
    /// most `limit`. Empty if the task does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_transitions(
        &self,
        task_id: Uuid,
        step: Option<&str>,
        after: i64,
        limit: Option<u32>,
    ) -> sqlx::Result<Vec<Transition>> {
        let rows: Vec<TransitionRow> = sqlx::query_as(LIST_TRANSITIONS)
            .bind(task_id)
            .bind(after)
            .bind(step)
            .bind(limit.map(i64::from))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| Transition {
                id: row.transition_id,
                at: row.at,
                step: row.step,
                attempt: row.attempt,
                from: row.from_state,
                to: row.to_state,
                actor: row.actor,
                reason: row.reason,
                kind: row.error_kind,
            })
            .collect())
    }
}
