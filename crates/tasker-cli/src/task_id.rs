//! Ids of tasks on the command line: a whole UUID, or its start.

use std::str::FromStr;

use tasker_api::ListTasks;
use tasker_api::limits::MIN_ID_DIGITS;
use tasker_client::OrchestrationApiClient;
use uuid::Uuid;

use crate::failure::Failure;

/// The id of a task, or the start of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskId {
    /// The whole id.
    Whole(Uuid),
    /// The first digits, in lower case and without hyphens.
    Start(String),
}

impl FromStr for TaskId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Whole(id));
        }
        let digits = text.replace('-', "").to_ascii_lowercase();
        let is_start = (MIN_ID_DIGITS..32).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
        if is_start {
            return Ok(Self::Start(digits));
        }
        Err(format!("give the UUID of a task, or at least its first {MIN_ID_DIGITS} hexadecimal digits"))
    }
}

impl TaskId {
    /// Returns the whole id. Looks for the only task whose id starts like this.
    pub(crate) async fn find(self, client: &impl OrchestrationApiClient) -> Result<Uuid, Failure> {
        let start = match self {
            Self::Whole(id) => return Ok(id),
            Self::Start(start) => start,
        };
        let mut found = Vec::new();
        let mut filter = ListTasks { q: Some(start.clone()), ..ListTasks::default() };
        loop {
            let page = client.list_tasks(&filter).await?;
            let ids = page.tasks.iter().map(|task| task.task_uuid);
            // The search also finds tasks that have a tag or a key like this.
            found.extend(ids.filter(|id| id.simple().to_string().starts_with(&start)));
            filter.cursor = page.next_cursor;
            if filter.cursor.is_none() || found.len() > 1 {
                break;
            }
        }
        match found[..] {
            [] => Err(Failure::failed(format!("there is no task whose id starts with {start}"))),
            [id] => Ok(id),
            [one, another, ..] => {
                let message = format!("the ids of several tasks start with {start}, such as {one} and {another}");
                Err(Failure::usage(message).hint("give more digits"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_whole_or_has_at_least_eight_digits() {
        let id = Uuid::now_v7();
        assert_eq!(id.to_string().parse(), Ok(TaskId::Whole(id)));
        assert_eq!(id.simple().to_string().parse(), Ok(TaskId::Whole(id)));
        assert_eq!("0198C5F0".parse(), Ok(TaskId::Start("0198c5f0".to_owned())));
        assert_eq!("0198c5f0-12".parse(), Ok(TaskId::Start("0198c5f012".to_owned())));
        for wrong in ["", "0198c5f", "0198-c5f", "0198c5fx", &"0".repeat(33)] {
            assert!(wrong.parse::<TaskId>().is_err(), "{wrong}");
        }
    }
}
