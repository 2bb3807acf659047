//! What is true of the tables at every moment.

use anyhow::{Result, ensure};
use tasker_api::{StepState, TaskState};

use crate::facts::{Facts, StepFacts, StepId, TaskFacts, Time};

/// Checks that the counters say what the rows say, and that nothing can get lost.
pub(crate) fn check(facts: &Facts, now: Time) -> Result<()> {
    for (id, task) in &facts.tasks {
        let steps: Vec<_> = facts.steps_of(*id).collect();
        check_task(task, &steps).map_err(|error| error.context(format!("task {id}: {task:?}, {steps:#?}")))?;
        for (step_id, step) in &steps {
            if !task.is_final() && step.is_active() {
                ensure!(
                    is_called(facts, *step_id, step, now),
                    "no message calls {step_id:?} in time: {step:?}, at {now}, {:#?}",
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
    ensure!(steps.len() == usize::try_from(task.total_steps)?, "its rows are not as many as its steps");
    ensure!(completed == usize::try_from(task.completed_steps)?, "completed_steps is wrong");
    ensure!(failed == usize::try_from(task.failed_steps)?, "failed_steps is wrong");
    ensure!(active == usize::try_from(task.active_steps)?, "active_steps is wrong");
    ensure!(
        (completed == steps.len()) == (task.state == TaskState::Completed),
        "a task is completed exactly when all its steps have results"
    );
    ensure!(
        (active == 0 && failed > 0 && !task.is_final()) == (task.state == TaskState::BlockedByFailures),
        "a task is blocked exactly when steps have failed and none has a turn to come"
    );
    ensure!(
        task.started_at.is_some() || matches!(task.state, TaskState::Pending | TaskState::Cancelled),
        "a task that goes on has a time of its start"
    );
    for ((_, number), step) in steps {
        ensure!(step.result.is_some() == step.has_result(), "step {number} has a result exactly when it is done");
        ensure!(
            !(task.is_final() && (step.is_active() || step.state == StepState::Pending)),
            "step {number} waits for a turn that cannot come"
        );
    }
    Ok(())
}

/// Whether a message makes workers look at the step as soon as it can start.
fn is_called(facts: &Facts, id: StepId, step: &StepFacts, now: Time) -> bool {
    let due = step.due_at.unwrap_or(now);
    facts.messages.values().any(|message| message.step == id && message.visible_at <= due)
}
