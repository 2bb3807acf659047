//! The steps that a worker holds. It holds a step from the claim until the result is recorded.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tasker_engine::StepRef;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Key = (Uuid, i16);

/// The held steps, each with the token that cancels its attempt.
#[derive(Debug, Default)]
pub(crate) struct Running {
    steps: Mutex<HashMap<Key, (StepRef, CancellationToken)>>,
    emptied: Notify,
}

impl Running {
    /// Adds a step. This cancels an older attempt of the same step, which has lost its lease.
    pub(crate) fn add(&self, step: StepRef) -> CancellationToken {
        let cancelled = CancellationToken::new();
        if let Some((_, older)) = self.steps.lock().insert(key(&step), (step, cancelled.clone())) {
            older.cancel();
        }
        cancelled
    }

    /// Removes a step, unless a newer attempt of it has been added.
    pub(crate) fn remove(&self, step: &StepRef) {
        let mut steps = self.steps.lock();
        if steps.get(&key(step)).is_some_and(|(held, _)| held.token == step.token) {
            steps.remove(&key(step));
            if steps.is_empty() {
                self.emptied.notify_waiters();
            }
        }
    }

    /// Waits until there are no steps.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            // Created first, so that it sees a removal after the look.
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// All steps.
    pub(crate) fn steps(&self) -> Vec<StepRef> {
        self.steps.lock().values().map(|(step, _)| step.clone()).collect()
    }

    /// Cancels the steps of `asked` that are not in `held`. Returns how many there were.
    pub(crate) fn cancel_lost(&self, asked: &[StepRef], held: &HashSet<Key>) -> usize {
        let steps = self.steps.lock();
        let lost = asked.iter().filter(|step| !held.contains(&key(step)));
        let mut count = 0;
        for step in lost {
            if let Some((current, cancelled)) = steps.get(&key(step))
                && current.token == step.token
                && !cancelled.is_cancelled()
            {
                cancelled.cancel();
                count += 1;
            }
        }
        count
    }

    /// The number of steps.
    pub(crate) fn len(&self) -> usize {
        self.steps.lock().len()
    }
}

fn key(step: &StepRef) -> Key {
    (step.task_id, step.step_no)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step_no: i16) -> StepRef {
        StepRef { task_id: Uuid::nil(), step_no, token: Uuid::new_v4(), namespace: "space".to_owned(), msg_id: 1 }
    }

    #[test]
    fn a_new_attempt_cancels_the_old_one_and_stays_when_that_is_removed() {
        let running = Running::default();
        let (old, new) = (step(1), step(1));
        let old_cancelled = running.add(old.clone());
        let new_cancelled = running.add(new.clone());
        assert!(old_cancelled.is_cancelled() && !new_cancelled.is_cancelled());
        running.remove(&old);
        assert_eq!(running.steps(), std::slice::from_ref(&new));
        running.remove(&new);
        assert_eq!(running.len(), 0);
    }

    #[test]
    fn only_lost_steps_are_cancelled() {
        let running = Running::default();
        let (kept, lost, younger) = (step(1), step(2), step(3));
        let kept_cancelled = running.add(kept.clone());
        let lost_cancelled = running.add(lost.clone());
        let younger_cancelled = running.add(younger);
        let held = HashSet::from([(kept.task_id, kept.step_no)]);
        assert_eq!(running.cancel_lost(&[kept, lost], &held), 1);
        assert!(lost_cancelled.is_cancelled());
        assert!(!kept_cancelled.is_cancelled() && !younger_cancelled.is_cancelled());
    }
}
