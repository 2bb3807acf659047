//! The history of tasks and steps: each transition must be legal and start in the state that the previous one reached.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use sqlx::PgPool;
use uuid::Uuid;

use crate::facts::Facts;

/// The transition's id, task, step, old state and new state.
type Row = (i64, Uuid, Option<i16>, Option<String>, String);

/// The state that each task (without a step number) and each step has reached in the history.
#[derive(Debug, Default)]
pub(crate) struct History {
    read_up_to: i64,
    states: BTreeMap<(Uuid, Option<i16>), String>,
}

impl History {
    /// Reads and checks the new transitions. Then compares the reached states with the rows.
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
            // The history has no entry for the creation of a pending step. Its first transition starts in `pending`.
            let pending = step.is_some() && before.is_none() && from.as_deref() == Some("pending");
            ensure!(
                before == from || pending,
                "{task} {step:?} was {before:?}, but the transition is from {from:?} to {to}"
            );
            let legal = if step.is_some() { is_legal_for_steps } else { is_legal_for_tasks };
            ensure!(legal(from.as_deref(), &to), "{task} {step:?}: the transition from {from:?} to {to} is illegal");
            self.read_up_to = id;
        }
        for (id, task) in &facts.tasks {
            let reached = self.states.get(&(*id, None));
            ensure!(
                reached.map(String::as_str) == Some(task.state.as_str()),
                "{id} is {reached:?} in the history, but {task:?} in its row"
            );
        }
        for ((task, number), step) in &facts.steps {
            let reached = self.states.get(&(*task, Some(*number))).map_or("pending", String::as_str);
            ensure!(
                reached == step.state.as_str(),
                "{task} {number} is {reached} in the history, but {step:?} in its row"
            );
        }
        Ok(())
    }
}

/// No transition leaves a final state, so a step cannot get two results.
fn is_legal_for_steps(from: Option<&str>, to: &str) -> bool {
    matches!(
        (from, to),
        (None, "enqueued")
            | (Some("pending"), "enqueued" | "in_progress")
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
            // From pending to completed: an operator resolved the only step before it ran.
            | (Some("pending"), "in_progress" | "completed" | "cancelled")
            | (Some("in_progress"), "completed" | "blocked_by_failures" | "cancelled")
            | (Some("blocked_by_failures"), "in_progress" | "completed" | "failed" | "cancelled")
    )
}
