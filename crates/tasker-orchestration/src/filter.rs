//! The filter of tasks for the conditions of a request.

use chrono::{DateTime, Utc};
use tasker_api::{TaskConditions, TaskState};
use tasker_engine::TaskFilter;
use uuid::Uuid;

/// The filter for these conditions.
pub(crate) fn unbound_filter(conditions: &TaskConditions) -> Result<TaskFilter, String> {
    let states = conditions
        .status
        .as_deref()
        .map(|states| states.split(',').map(|state| state.trim().parse::<TaskState>()).collect::<Result<Vec<_>, _>>());
    let states = states.transpose().map_err(|error| format!("status: {error}"))?;
    if conditions.version.is_some() && conditions.template.is_none() {
        return Err("version needs template, the name of the template".to_owned());
    }
    Ok(TaskFilter {
        namespaces: conditions.namespace.clone().map(|namespace| vec![namespace]),
        states,
        template: conditions.template.clone(),
        version: conditions.version.clone(),
        value: conditions.tag.as_deref().map(named_value),
        idempotency_key: conditions.idempotency_key.clone(),
        text: None,
        from: conditions.created_after.map(first_id),
        before: conditions.created_before.map(first_id),
    })
}

/// A tag or searchable value: `NAME=VALUE`, or `VALUE` for a tag without a name.
fn named_value(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or(("", text));
    (name.to_owned(), value.to_owned())
}

/// The smallest id of a task that was created at this time: a UUIDv7 begins with the milliseconds, in 48 bits.
pub(crate) fn first_id(time: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(time.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_begin_with_the_time() {
        let now = Utc::now();
        let id = Uuid::now_v7();
        assert!(first_id(now) <= id && id < first_id(now + chrono::Duration::seconds(10)));
        assert_eq!(first_id(DateTime::UNIX_EPOCH - chrono::Duration::seconds(1)), Uuid::nil());
    }

    #[test]
    fn several_states_are_separated_by_commas() {
        let filter = |status: &str| {
            unbound_filter(&TaskConditions { status: Some(status.to_owned()), ..TaskConditions::default() })
        };
        assert_eq!(filter("failed, pending").unwrap().states, Some(vec![TaskState::Failed, TaskState::Pending]));
        assert!(filter("failed,").unwrap_err().contains("is not a state"));
        assert_eq!(named_value("vip"), (String::new(), "vip".to_owned()));
        assert_eq!(named_value("/order=1=2"), ("/order".to_owned(), "1=2".to_owned()));
    }
}
