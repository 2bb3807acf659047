//! What operators look at: counts, queues, missing handlers, attempts, and why a step waits.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::types::Json;
use tasker_api::{Attempt, QueueDepth, StepState, TaskCount, TaskState, UnservedHandler};
use uuid::Uuid;

use crate::Engine;
use crate::arguments::{count, decode};
use crate::statements::statements;

statements! {
    COUNT_TASKS = "select namespace, state::text, count from tasker.count_tasks($1, $2)";
    QUEUE_DEPTHS = "select namespace, ready, hidden, oldest_ready_seconds from tasker.queue_depths($1, $2)";
    UNSERVED_HANDLERS = "select namespace, callable, templates, open_tasks from tasker.unserved_handlers($1, $2)";
    LIST_ATTEMPTS = "select attempt_id, step, attempt, worker_id, started_at, ended_at, outcome::text, error_kind, reason
        from tasker.list_attempts($1, $2, $3, $4)";
    EXPLAIN_STEP = "select task_state::text, state::text, namespace, callable, due_at, worker_id, missing,
            coalesce(workers, '{}') as workers, coalesce(able, '{}') as able, coalesce(free, '{}') as free,
            holder_lives, ahead
        from tasker.explain_step($1, $2, $3)";
    EXPLAIN_WAIT = "select signal, child, child_state::text from tasker.explain_wait($1, $2)";
    EXPLAIN_QUEUE = "select paused_at, ready_since, is_lost from tasker.explain_queue($1, $2, $3)";
    EXPLAIN_GROUP = "select group_name, parallelism, children, failed, is_held from tasker.explain_group($1, $2, $3, $4)";
    BLOCKED_BELOW = "select tasker.blocked_below($1)";
    // The number of changes and the last one tell whether a task changed. The last one alone does not: transactions
    // commit in another order than their numbers.
    WATCH_TASKS = "select t.task_id, t.namespace, t.state::text as state, t.completed_steps, t.failed_steps, t.active_steps,
            r.changes, r.last_change
        from unnest($1::uuid[], $2::boolean[]) w(task_id, steps)
        join tasker.tasks t using (task_id)
        cross join lateral (
            select count(*) as changes, coalesce(max(r.transition_id), 0) as last_change
            from tasker.transitions r where w.steps and r.task_id = t.task_id) r";
    WATCH_STEPS = "select s.step_no, coalesce(s.name, ts.name) as name, s.state::text as state, s.attempts, s.worker_id, s.started_at, s.completed_at,
            s.due_at, s.error ->> 'kind' as kind
        from tasker.steps s
        join tasker.tasks t using (task_id)
        join tasker.template_steps ts
            on ts.template_id = t.template_id and ts.step_no = coalesce(s.definition, s.step_no)
        where s.task_id = $1 order by s.step_no";
    NEWER_TASKS = "select count(*), max(l.task_id::text)::uuid
        from tasker.newest_tasks(
            coalesce($1, array(select n.namespace from tasker.namespaces n)), tasker.task_states(), $2,
            'ffffffff-ffff-ffff-ffff-ffffffffffff', $3) l";
}

/// The facts that tell why a step waits.
#[derive(Debug, Clone)]
pub struct StepFacts {
    /// The state of the task.
    pub task_state: TaskState,
    /// The state of the step.
    pub state: StepState,
    /// The namespace of the task.
    pub namespace: String,
    /// The handler of the step.
    pub callable: String,
    /// The end of the lease, or the earliest time of the next attempt.
    pub due_at: Option<DateTime<Utc>>,
    /// The worker of the last attempt.
    pub worker_id: Option<String>,
    /// The dependencies without a result, with their states.
    pub missing: Vec<(String, StepState)>,
    /// The live workers of the namespace.
    pub workers: Vec<String>,
    /// Those of them that have the handler, or may have it.
    pub able: Vec<String>,
    /// Those of them that have the handler and a free slot.
    pub free: Vec<String>,
    /// Whether the worker that holds the step sends heartbeats.
    pub holder_lives: bool,
    /// How many messages are before the step in the queue, if it is in the queue.
    pub ahead: Option<i64>,
}

/// For what a waiting step waits. Neither if it waits for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepWait {
    /// The name of a signal.
    pub signal: Option<String>,
    /// A child task, and its state.
    pub child: Option<(Uuid, TaskState)>,
}

/// What holds up a step that workers could take.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct QueueFacts {
    /// Since when its namespace is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// Since when a worker could have read its message. None while the message is hidden.
    pub ready_since: Option<DateTime<Utc>>,
    /// Whether the step needs a message and has none. None if the queue is too long to know.
    pub is_lost: Option<bool>,
}

/// For what a pending step of a group waits.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct GroupFacts {
    /// The group, if the step is a child. None if it is the group.
    pub group_name: Option<String>,
    /// How many children of the group run at once.
    pub parallelism: Option<i32>,
    /// How many children have not ended.
    pub children: i64,
    /// The first names of children that an operator must look at.
    pub failed: Vec<String>,
    /// Whether no child starts until an operator has looked at them.
    pub is_held: bool,
}

#[derive(FromRow)]
struct FactsRow {
    task_state: String,
    state: String,
    namespace: String,
    callable: String,
    due_at: Option<DateTime<Utc>>,
    worker_id: Option<String>,
    missing: Option<Json<Vec<(String, StepState)>>>,
    workers: Vec<String>,
    able: Vec<String>,
    free: Vec<String>,
    holder_lives: bool,
    ahead: Option<i64>,
}

#[derive(FromRow)]
struct AttemptRow {
    attempt_id: i64,
    step: String,
    attempt: Option<i16>,
    worker_id: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    error_kind: Option<String>,
    reason: Option<String>,
}

/// What shows whether a watched task has changed.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct WatchedTask {
    /// The task.
    pub task_id: Uuid,
    /// Its namespace.
    pub namespace: String,
    /// Its state.
    pub state: String,
    /// How many steps have a result.
    pub completed_steps: i16,
    /// How many steps have failed.
    pub failed_steps: i16,
    /// How many steps are in the queue, run, or wait for a retry.
    pub active_steps: i16,
    /// How many changes of state its history has. 0 if only the task itself is watched.
    pub changes: i64,
    /// The largest number of these changes.
    pub last_change: i64,
}

/// A step of a watched task.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct WatchedStep {
    /// Its number in the template.
    pub step_no: i16,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// How many attempts have started since the last retry by an operator.
    pub attempts: i16,
    /// The worker of its last attempt.
    pub worker_id: Option<String>,
    /// When its last attempt started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// The end of the lease, or the earliest time of the next attempt.
    pub due_at: Option<DateTime<Utc>>,
    /// The kind of its last error.
    pub kind: Option<String>,
}

impl Engine {
    /// Counts the tasks of each namespace and state, up to `limit` each. None: of every namespace.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_tasks(&self, namespaces: Option<&[String]>, limit: u32) -> sqlx::Result<Vec<TaskCount>> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as(COUNT_TASKS).bind(namespaces).bind(count(limit)).fetch_all(&self.pool).await?;
        rows.into_iter()
            .map(|(namespace, state, count)| Ok(TaskCount { namespace, status: decode(&state)?, count }))
            .collect()
    }

    /// Measures the queue of each namespace. Counts end at `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_depths(&self, namespaces: Option<&[String]>, limit: u32) -> sqlx::Result<Vec<QueueDepth>> {
        let rows: Vec<(String, i64, i64, Option<f64>)> =
            sqlx::query_as(QUEUE_DEPTHS).bind(namespaces).bind(count(limit)).fetch_all(&self.pool).await?;
        Ok(rows
            .into_iter()
            .map(|(namespace, ready, hidden, oldest_ready_seconds)| QueueDepth {
                namespace,
                ready,
                hidden,
                oldest_ready_seconds,
            })
            .collect())
    }

    /// Lists the callables that open tasks need and that no live worker of their namespace has. Looks at the newest
    /// `limit` tasks of each namespace and open state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unserved_handlers(
        &self,
        namespaces: Option<&[String]>,
        limit: u32,
    ) -> sqlx::Result<Vec<UnservedHandler>> {
        let rows: Vec<(String, String, Vec<String>, i64)> =
            sqlx::query_as(UNSERVED_HANDLERS).bind(namespaces).bind(count(limit)).fetch_all(&self.pool).await?;
        Ok(rows
            .into_iter()
            .map(|(namespace, callable, templates, open_tasks)| UnservedHandler {
                namespace,
                callable,
                templates,
                open_tasks,
            })
            .collect())
    }

    /// Lists attempts of a task's steps, or of one step, oldest first: those after the attempt `after`, at most `limit`.
    /// Each comes with its number, which is the `after` of the next page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_attempts(
        &self,
        task_id: Uuid,
        step: Option<&str>,
        after: i64,
        limit: Option<u32>,
    ) -> sqlx::Result<Vec<(i64, Attempt)>> {
        let rows: Vec<AttemptRow> = sqlx::query_as(LIST_ATTEMPTS)
            .bind(task_id)
            .bind(step)
            .bind(after)
            .bind(limit.map(count))
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| {
                let attempt = Attempt {
                    step: row.step,
                    attempt: row.attempt.unwrap_or(1),
                    worker_id: row.worker_id,
                    started_at: row.started_at,
                    ended_at: row.ended_at,
                    outcome: row.outcome.as_deref().map(decode).transpose()?,
                    kind: row.error_kind,
                    message: row.reason,
                };
                Ok((row.attempt_id, attempt))
            })
            .collect()
    }

    /// Returns the facts that tell why a step waits. Counts messages up to `limit`. None if there is no such step.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_step(&self, task_id: Uuid, step: &str, limit: u32) -> sqlx::Result<Option<StepFacts>> {
        let row: Option<FactsRow> =
            sqlx::query_as(EXPLAIN_STEP).bind(task_id).bind(step).bind(count(limit)).fetch_optional(&self.pool).await?;
        row.map(|row| {
            Ok(StepFacts {
                task_state: decode(&row.task_state)?,
                state: decode(&row.state)?,
                namespace: row.namespace,
                callable: row.callable,
                due_at: row.due_at,
                worker_id: row.worker_id,
                missing: row.missing.map(|missing| missing.0).unwrap_or_default(),
                workers: row.workers,
                able: row.able,
                free: row.free,
                holder_lives: row.holder_lives,
                ahead: row.ahead,
            })
        })
        .transpose()
    }

    /// Returns for what a step waits; `None` if it is not waiting.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_wait(&self, task_id: Uuid, step: &str) -> sqlx::Result<Option<StepWait>> {
        let row: Option<(Option<String>, Option<Uuid>, Option<String>)> =
            sqlx::query_as(EXPLAIN_WAIT).bind(task_id).bind(step).fetch_optional(&self.pool).await?;
        row.map(|(signal, child, state)| {
            Ok(StepWait { signal, child: child.zip(state.as_deref().map(decode).transpose()?) })
        })
        .transpose()
    }

    /// Returns what holds up a step that workers could take. Looks at `limit` messages. None if there is no such step.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_queue(&self, task_id: Uuid, step: &str, limit: u32) -> sqlx::Result<Option<QueueFacts>> {
        sqlx::query_as(EXPLAIN_QUEUE).bind(task_id).bind(step).bind(count(limit)).fetch_optional(&self.pool).await
    }

    /// Returns for what a pending step of a group waits, with at most `names` failed children. Counts children up to
    /// `limit`. None if the step is not a part of a group.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_group(
        &self,
        task_id: Uuid,
        step: &str,
        limit: u32,
        names: u32,
    ) -> sqlx::Result<Option<GroupFacts>> {
        sqlx::query_as(EXPLAIN_GROUP)
            .bind(task_id)
            .bind(step)
            .bind(count(limit))
            .bind(count(names))
            .fetch_optional(&self.pool)
            .await
    }

    /// Returns the task that is blocked by failures: this one, or one for which its steps wait, however deep.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn blocked_below(&self, task_id: Uuid) -> sqlx::Result<Option<Uuid>> {
        sqlx::query_scalar(BLOCKED_BELOW).bind(task_id).fetch_one(&self.pool).await
    }

    /// Returns what shows whether tasks have changed, for those that exist. With `true`, the steps of the task count too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watch_tasks(&self, tasks: &[(Uuid, bool)]) -> sqlx::Result<Vec<WatchedTask>> {
        let (ids, steps): (Vec<Uuid>, Vec<bool>) = tasks.iter().copied().unzip();
        sqlx::query_as(WATCH_TASKS).bind(ids).bind(steps).fetch_all(&self.pool).await
    }

    /// Returns the steps of a watched task, without inputs and results.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watch_steps(&self, task_id: Uuid) -> sqlx::Result<Vec<WatchedStep>> {
        sqlx::query_as(WATCH_STEPS).bind(task_id).fetch_all(&self.pool).await
    }

    /// Counts the tasks whose ids are `from` or larger, up to `limit`, and returns the largest id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newer_tasks(
        &self,
        namespaces: Option<&[String]>,
        from: Uuid,
        limit: u32,
    ) -> sqlx::Result<(i64, Option<Uuid>)> {
        sqlx::query_as(NEWER_TASKS).bind(namespaces).bind(from).bind(count(limit)).fetch_one(&self.pool).await
    }
}
