//! Reads the conditions of lists: of tasks, and of pages.

use tasker_api::limits::{DEFAULT_PAGE, MAX_PAGE};
use tasker_api::{ListTasks, TaskConditions};
use tasker_engine::TaskFilter;

use super::access::Principal;
use super::error::ApiError;
use crate::filter::unbound_filter;

/// The size of a page: 50 tasks by default.
pub(super) fn page_size(limit: Option<i64>) -> Result<u32, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    u32::try_from(limit)
        .ok()
        .filter(|_| (1..=MAX_PAGE).contains(&limit))
        .ok_or_else(|| ApiError::malformed(format!("limit must be 1 to {MAX_PAGE}, not {limit}")))
}

/// The size of a page of a list that has one page if the request does not say.
pub(super) fn optional_page_size(limit: Option<i64>) -> Result<Option<u32>, ApiError> {
    limit.map(|limit| page_size(Some(limit))).transpose()
}

/// The position after which a page begins.
pub(super) fn cursor<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, ApiError> {
    let wrong = |_| ApiError::malformed("cursor must be the next_cursor of an earlier page");
    cursor.map(|cursor| cursor.parse().map_err(wrong)).transpose()
}

/// Splits the query of a list of tasks.
pub(super) fn of_list(query: ListTasks) -> (TaskConditions, Option<String>) {
    let ListTasks {
        namespace,
        status,
        template,
        version,
        tag,
        created_after,
        created_before,
        idempotency_key,
        q,
        limit: _,
        cursor: _,
    } = query;
    let conditions =
        TaskConditions { namespace, status, template, version, tag, created_after, created_before, idempotency_key };
    (conditions, q)
}

/// The filter for these conditions, within the namespaces that the caller may use.
pub(super) fn filter(conditions: &TaskConditions, principal: &Principal) -> Result<TaskFilter, ApiError> {
    let filter = unbound_filter(conditions).map_err(ApiError::malformed)?;
    Ok(TaskFilter { namespaces: principal.namespaces_to_list(conditions.namespace.clone())?, ..filter })
}
