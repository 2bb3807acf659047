//! Tasks while they run: a bar each on a terminal, else a line for every change.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tasker_api::{StepState, TaskDetail};
use tasker_client::{ClientError, OrchestrationApiClient};
use uuid::Uuid;

use crate::output::{clean, note};

/// How long one look at a task lasts: the first after a change, and the last of many without one.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// Watches a task until it is at rest, or `limit` is over; shows every change.
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
    /// Shows one more task; its name takes up `width` characters at least.
    pub(crate) fn task(&self, width: usize) -> TaskProgress {
        let bar = self.bars.add(ProgressBar::new(0));
        // A bad style would only look worse.
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:20}] {pos} of {len} steps  {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        TaskProgress { width, name: String::new(), bar, seen: HashMap::new() }
    }
}

/// A task while it runs, on standard error.
pub(crate) struct TaskProgress {
    width: usize,
    name: String,
    bar: ProgressBar,
    seen: HashMap<String, (StepState, i16)>,
}

impl TaskProgress {
    /// Shows the task as it is now; whether it differs from before.
    fn show(&mut self, task: &TaskDetail) -> bool {
        let mut changed = self.seen.is_empty();
        if changed {
            self.name = format!("{}/{}", task.summary.namespace, task.summary.name);
            self.bar.set_prefix(format!("{:width$}", self.name, width = self.width));
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
        self.bar.set_length(u64::try_from(summary.total_steps).unwrap_or(0));
        self.bar.set_position(u64::try_from(summary.completed_steps).unwrap_or(0));
        self.bar.set_message(clean(&running.join(", ")));
        if summary.status.is_at_rest() {
            self.bar.finish_with_message(summary.status.as_str());
            if self.bar.is_hidden() {
                note(format!("{}: {}", self.name, summary.status));
            }
        }
        changed
    }

    fn line(&self, step: &str, before: Option<(StepState, i16)>, (state, attempt): (StepState, i16)) {
        // What has not begun is not worth a line.
        if !self.bar.is_hidden() || (before.is_none() && matches!(state, StepState::Pending | StepState::Enqueued)) {
            return;
        }
        let attempt = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
        note(format!("{}: {} {state}{attempt}", self.name, clean(step)));
    }
}
