//! The invariants of the tables.

use anyhow::{Result, ensure};
use tasker_api::{StepState, TaskState};

use crate::facts::{Facts, StepFacts, StepId, TaskFacts, Time};

/// Checks that the counters match the rows, and that a message exists for every active step.
pub(crate) fn check(facts: &Facts, now: Time) -> Result<()> {
    for (id, task) in &facts.tasks {
        let steps: Vec<_> = facts.steps_of(*id).collect();
        check_task(task, &steps).map_err(|error| error.context(format!("task {id}: {task:?}, {steps:#?}")))?;
        for (step_id, step) in &steps {
            if !task.is_final() && step.is_active() {
                ensure!(
                    has_timely_message(facts, *step_id, step, now),
                    "no message is visible in time for {step_id:?}: {step:?}, at {now}, {:#?}",
                    facts.messages
                );
            }
        }
    }
    Ok(())
}

fn check_task(task: &TaskFacts, steps: &[(StepId, &StepFacts)]) -> Result<()> {
    let count = |is: fn(&StepFacts) -> bool| steps.iter().filter(|(_, step)| is(step)).count();
    let completed = count(StepFacts::has_result);
    let failed = count(|step| step.state == StepState::Failed);
    let active = count(StepFacts::is_active);
    ensure!(steps.len() == usize::try_from(task.total_steps)?, "total_steps is wrong");
    ensure!(completed == usize::try_from(task.completed_steps)?, "completed_steps is wrong");
    ensure!(failed == usize::try_from(task.failed_steps)?, "failed_steps is wrong");
    ensure!(active == usize::try_from(task.active_steps)?, "active_steps is wrong");
    ensure!(
        (completed == steps.len()) == (task.state == TaskState::Completed),
        "a task must be completed if and only if all its steps have results"
    );
    ensure!(
        (active == 0 && failed > 0 && !task.is_final()) == (task.state == TaskState::BlockedByFailures),
        "a task must be blocked if and only if steps have failed and none is active"
    );
    ensure!(
        task.started_at.is_some() || matches!(task.state, TaskState::Pending | TaskState::Cancelled),
        "a task that is neither pending nor cancelled must have a start time"
    );
    for ((_, number), step) in steps {
        ensure!(
            step.result.is_some() == step.has_result(),
            "step {number} must have a result if and only if it is completed or resolved"
        );
        ensure!(
            !(task.is_final() && (step.is_active() || step.state == StepState::Pending)),
            "step {number} is not final, but its task is"
        );
    }
    Ok(())
}

/// Whether a message becomes visible no later than the step can start.
fn has_timely_message(facts: &Facts, id: StepId, step: &StepFacts, now: Time) -> bool {
    let due = step.due_at.unwrap_or(now);
    facts.messages.values().any(|message| message.step == id && message.visible_at <= due)
}
