//! Requests that wait until a task is at rest.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tasker_api::TaskDetail;
use utoipa::IntoParams;
use uuid::Uuid;

use super::no_such_task;
use crate::rest::error::ApiError;
use crate::rest::state;
use crate::services::waiters::Waiter;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::rest) struct Wait {
    /// Wait until the task is at rest, but no longer than this, such as `30s` or `500ms`. The server shortens long
    /// waits: by default to one minute.
    pub(super) wait: Option<String>,
}

impl Wait {
    /// How long to wait, if the request says so.
    pub(super) fn duration(&self, state: &state::State) -> Result<Option<Duration>, ApiError> {
        let wait = self.wait.as_deref().map(parse_wait).transpose()?;
        Ok(wait.map(|wait| wait.min(state.settings.max_wait())))
    }
}

/// Returns the task as soon as it is at rest, and as it is after `wait` or when the server shuts down.
pub(super) async fn get_at_rest(
    state: &state::State,
    task_id: Uuid,
    wait: Duration,
) -> Result<Arc<TaskDetail>, ApiError> {
    let waiter = state.waiters.register(task_id);
    let task = get_now(state, task_id, true).await?;
    if task.summary.status.is_at_rest() { Ok(task) } else { until_rest(state, task_id, waiter, wait).await }
}

pub(super) async fn until_rest(
    state: &state::State,
    task_id: Uuid,
    mut waiter: Waiter,
    wait: Duration,
) -> Result<Arc<TaskDetail>, ApiError> {
    tokio::select! {
        task = waiter.at_rest() => Ok(task),
        () = state.shutdown.cancelled() => get_now(state, task_id, true).await,
        () = tokio::time::sleep(wait) => get_now(state, task_id, true).await,
    }
}

pub(super) async fn get_now(state: &state::State, task_id: Uuid, results: bool) -> Result<Arc<TaskDetail>, ApiError> {
    state.engine.get_task(task_id, results).await?.map(Arc::new).ok_or_else(|| no_such_task(task_id))
}

fn parse_wait(text: &str) -> Result<Duration, ApiError> {
    humantime::parse_duration(text).map_err(|error| {
        ApiError::malformed(format!("wait must be a duration such as 30s, 500ms or 1m, not '{text}': {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_duration_with_units() {
        let ok = |text: &str| parse_wait(text).ok();
        assert_eq!(ok("30s"), Some(Duration::from_secs(30)));
        assert_eq!(ok("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(ok("2m"), Some(Duration::from_secs(120)));
        assert_eq!(ok("1m 30s"), Some(Duration::from_secs(90)));
        for wrong in ["", "s", "30", "-1s", "30x", "soon", "99999999999999999999s"] {
            assert_eq!(ok(wrong), None, "{wrong}");
        }
    }
}
