//! The history of tasks and steps: each transition must be legal, and begin where the one before it ended.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use sqlx::PgPool;
use uuid::Uuid;

use crate::facts::Facts;

/// Id, task, step, and from which state to which.
type Row = (i64, Uuid, Option<i16>, Option<String>, String);

/// Where the history has led each task (no step) and step.
#[derive(Debug, Default)]
pub(crate) struct History {
    read_up_to: i64,
    states: BTreeMap<(Uuid, Option<i16>), String>,
}

impl History {
    /// Reads on, and checks what is new; then compares where it has led with the rows.
    pub(crate) async fn follow(&mut self, pool: &PgPool, tasks: &[Uuid], facts: &Facts) -> Result<()> {
        let rows: Vec<Row> = sqlx::query_as(
            "select transition_id, task_id, step_no, from_state::text, to_state::text from tasker.transitions
             where task_id = any ($1) and transition_id > $2 order by transition_id",
        )
        .bind(tasks)
        .bind(self.read_up_to)
        .fetch_all(pool)
        .await?;
        for (id, task, step, from, to) in rows {
            let before = self.states.insert((task, step), to.clone());
            // A step that waits for others is not in the history until its turn comes.
            let pending = step.is_some() && before.is_none() && from.as_deref() == Some("pending");
            ensure!(before == from || pending, "{task} {step:?} was {before:?}, but goes from {from:?} to {to}");
            let legal = if step.is_some() { is_legal_for_steps } else { is_legal_for_tasks };
            ensure!(legal(from.as_deref(), &to), "{task} {step:?} may not go from {from:?} to {to}");
            self.read_up_to = id;
        }
        for (id, task) in &facts.tasks {
            let led_to = self.states.get(&(*id, None));
            ensure!(led_to.map(String::as_str) == Some(task.state.as_str()), "{id}: {led_to:?}, but is {task:?}");
        }
        for ((task, number), step) in &facts.steps {
            let led_to = self.states.get(&(*task, Some(*number))).map_or("pending", String::as_str);
            ensure!(led_to == step.state.as_str(), "{task} {number}: {led_to}, but is {step:?}");
        }
        Ok(())
    }
}

/// Final states lead nowhere, so no step has two results.
fn is_legal_for_steps(from: Option<&str>, to: &str) -> bool {
    matches!(
        (from, to),
        (None, "enqueued")
            | (Some("pending"), "enqueued")
            | (Some("enqueued" | "waiting_for_retry" | "in_progress"), "in_progress")
            | (Some("in_progress"), "completed" | "waiting_for_retry" | "failed" | "enqueued")
            | (Some("failed"), "enqueued" | "resolved_manually")
            | (Some("pending" | "enqueued" | "waiting_for_retry" | "in_progress"), "resolved_manually" | "cancelled")
    )
}

fn is_legal_for_tasks(from: Option<&str>, to: &str) -> bool {
    matches!(
        (from, to),
        (None, "pending")
            // Straight to completed: an operator resolved its only step before it ran.
            | (Some("pending"), "in_progress" | "completed" | "cancelled")
            | (Some("in_progress"), "completed" | "blocked_by_failures" | "cancelled")
            | (Some("blocked_by_failures"), "in_progress" | "completed" | "failed" | "cancelled")
    )
}
