//! Shows running tasks: a bar for each on a terminal, otherwise a line for each change.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tasker_api::{StepState, TaskDetail};
use tasker_client::{ClientError, OrchestrationApiClient};
use uuid::Uuid;

use crate::output::{clean, note};

/// How long one request waits for a change: the least, right after a change, and the most, after a time without one.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// Watches a task until it is at rest or `limit` is over, and shows every change.
pub(crate) async fn watch(
    client: &impl OrchestrationApiClient,
    task_uuid: Uuid,
    limit: Duration,
    mut shown: TaskProgress,
) -> Result<TaskDetail, ClientError> {
    let start = Instant::now();
    let mut look = SHORTEST_LOOK;
    let mut task = client.get_task(task_uuid).await?;
    loop {
        let changed = shown.show(&task);
        if task.summary.status.is_at_rest() {
            return Ok(task);
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(ClientError::NotAtRest { task: Box::new(task), waited: limit });
        }
        look = if changed { SHORTEST_LOOK } else { LONGEST_LOOK.min(look * 2) };
        task = client.get_task_at_rest(task_uuid, look.min(left)).await?;
    }
}

/// Several tasks, each shown by a [`TaskProgress`].
#[derive(Default)]
pub(crate) struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// Adds a task. Its name is padded to `width` characters.
    pub(crate) fn task(&self, width: usize) -> TaskProgress {
        // The first `show` draws it.
        let bar = self.bars.add(ProgressBar::new(0));
        // The template is valid; a bad one would only look worse.
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:20}] {pos} of {len} steps  {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        TaskProgress { width, name: String::new(), bar, seen: HashMap::new() }
    }
}

/// Shows one task on standard error.
pub(crate) struct TaskProgress {
    width: usize,
    name: String,
    bar: ProgressBar,
    seen: HashMap<String, (StepState, i16)>,
}

impl TaskProgress {
    /// Shows the task as it is now. Returns whether it has changed.
    fn show(&mut self, task: &TaskDetail) -> bool {
        let mut changed = self.seen.is_empty();
        if changed {
            self.name = format!("{}/{}", task.summary.namespace, task.summary.name);
        }
        for step in &task.steps {
            let now = (step.status, step.attempts);
            let before = self.seen.insert(step.name.clone(), now);
            if before != Some(now) {
                changed = true;
                self.line(&step.name, before, now);
            }
        }
        let running: Vec<_> = task
            .steps
            .iter()
            .filter(|step| {
                matches!(step.status, StepState::InProgress | StepState::WaitingForRetry | StepState::Failed)
            })
            .map(|step| format!("{} {}", step.name, step.status))
            .collect();
        let summary = &task.summary;
        // Only setting the length draws: a bar must not be drawn before everything is set, and one of length 0 would
        // be full.
        let bar = self.bar.clone().with_prefix(format!("{:width$}", self.name, width = self.width));
        let bar = bar.with_position(u64::try_from(summary.completed_steps).unwrap_or(0));
        bar.with_message(clean(&running.join(", "))).set_length(u64::try_from(summary.total_steps).unwrap_or(0));
        if summary.status.is_at_rest() {
            self.bar.finish_with_message(summary.status.as_str());
            if self.bar.is_hidden() {
                note(format!("{}: {}", self.name, summary.status));
            }
        }
        changed
    }

    fn line(&self, step: &str, before: Option<(StepState, i16)>, (state, attempt): (StepState, i16)) {
        // No line for steps that have not started.
        if !self.bar.is_hidden() || (before.is_none() && matches!(state, StepState::Pending | StepState::Enqueued)) {
            return;
        }
        let attempt = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
        note(format!("{}: {} {state}{attempt}", self.name, clean(step)));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};
    use serde_json::json;

    use super::*;

    /// A terminal that records what is written to it.
    #[derive(Debug, Clone, Default)]
    struct Recorder(Arc<Mutex<String>>);

    impl TermLike for Recorder {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_first_frame_shows_the_task_as_it_is() {
        let terminal = Recorder::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let progress = Progress { bars: MultiProgress::with_draw_target(target) };
        let step = |name: &str| json!({"name": name, "status": "pending", "attempts": 0, "max_attempts": 1, "dependencies": []});
        let task = json!({
            "task_uuid": Uuid::nil(), "namespace": "n", "name": "t", "version": "1.0.0", "status": "in_progress",
            "completion_percentage": 50, "total_steps": 2, "completed_steps": 1, "failed_steps": 0, "priority": 0,
            "created_at": "2030-01-01T00:00:00Z", "context": {}, "steps": [step("a"), step("b")],
        });
        progress.task(5).show(&serde_json::from_value(task).unwrap());
        let written = terminal.0.lock().unwrap().clone();
        assert!(written.starts_with("n/t   [==========>         ] 1 of 2 steps"), "{written:?}");
    }
}
