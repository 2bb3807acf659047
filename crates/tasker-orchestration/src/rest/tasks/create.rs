//! Creating tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tasker_api::limits::stored_bytes;
use tasker_api::{CreateTask, FieldError, Problem, TaskDetail, TaskState, TaskSummary};
use tasker_engine::{CreateOutcome, NewTask, Rerun};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::summary;
use super::values::{searchable, values};
use super::wait::{Wait, get_at_rest, until_rest};
use crate::rest::access::Principal;
use crate::rest::error::ApiError;
use crate::rest::extract::{JsonBody, QueryString};
use crate::rest::{state, templates};
use crate::services::metrics::TemplateLabels;
use crate::services::templates::{CheckedTemplate, TemplateError};
use crate::trace::Creation;

/// How often one request tries again because the template has got a newer version.
const MAX_LOOKS: usize = 5;

/// Creates a task. With `wait`, the response shows the task with its steps as soon as it is at rest.
#[utoipa::path(post, path = "/v1/tasks", params(Wait), request_body = CreateTask,
    responses(
        (status = 201, body = CreatedTask, description = "The task is stored durably. With `wait`: and it is at rest",
            headers(("Location" = String))),
        (status = 202, body = TaskDetail, description = "The task is stored durably, and is not at rest after `wait`",
            headers(("Location" = String))),
        (status = 200, body = CreatedTask, description = "The same request was sent before, with the same key"),
        (status = 400, body = Problem), (status = 404, body = Problem, description = "No such template"),
        (status = 409, body = Problem, description = "Another request has used the idempotency key"),
        (status = 413, body = Problem),
        (status = 422, body = Problem, description = "The context does not match the input_schema")))]
pub(in crate::rest) async fn create(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<Wait>,
    JsonBody(request): JsonBody<CreateTask>,
) -> Result<Response, ApiError> {
    request.check()?;
    let wait = query.duration(&state)?;
    if wait.is_some() {
        principal.require_read()?;
    }
    create_from(&state, &principal, &request, wait, None).await
}

/// Creates the task of a request that is within the limits, or of a rerun. With `wait`, the response shows the task when
/// it is at rest.
pub(in crate::rest) async fn create_from(
    state: &state::State,
    principal: &Principal,
    request: &CreateTask,
    wait: Option<Duration>,
    rerun: Option<&Rerun>,
) -> Result<Response, ApiError> {
    principal.require_namespace(&request.namespace)?;
    let idempotency = request.idempotency_key.clone().map(|key| (key, digest(request)));
    let version = request.version.as_deref();
    let CreateTask { namespace, name, context, priority, tags, .. } = request;
    let context = Value::Object(context.clone());
    let (bytes, limit) = (stored_bytes(&context), state.settings.max_body_bytes);
    if bytes > limit {
        return Err(ApiError::too_large(format!("the context has {bytes} bytes of JSON; the limit is {limit}")));
    }
    for _ in 0..MAX_LOOKS {
        let template = find_template(state, namespace, name, version).await?;
        check_context(&template, &context)?;
        // Not before, because a client could name any template.
        let creation = Creation::begin(namespace, name, rerun.map(|rerun| rerun.of));
        let task_id = Uuid::now_v7();
        let task = NewTask {
            task_id,
            template_id: template.stored.template_id,
            latest: version.is_none(),
            context: context.clone(),
            priority: priority.unwrap_or(0),
            tags: tags.clone(),
            idempotency: idempotency.clone(),
            values: values(&template, &context, tags.as_ref()),
            traceparent: creation.traceparent(),
        };
        // Before the creation, because a fast task is at rest before its creator is told.
        let waiter = wait.map(|wait| (wait, state.waiters.register(task_id)));
        let outcome = match rerun {
            None => {
                let written = state.tasks.write(task).await;
                written.map_err(|error| {
                    ApiError::not_written(
                        error,
                        "the database did not confirm the task, which may exist; \
                         to get one task in any case, repeat the request with an idempotency_key",
                    )
                })?
            }
            Some(rerun) => state.engine.rerun_task(&task, rerun).await?,
        };
        match outcome {
            CreateOutcome::Created(created_at) => {
                creation.is_of(task_id);
                drop(creation);
                state.writability.written();
                state.metrics.created(&TemplateLabels { namespace: namespace.clone(), template: name.clone() });
                let Some((wait, waiter)) = waiter else {
                    let summary = created(&template, task_id, created_at, request, &context);
                    return Ok((StatusCode::CREATED, location(task_id), Json(summary)).into_response());
                };
                let task = until_rest(state, task_id, waiter, wait).await?;
                let status = if task.summary.status.is_at_rest() { StatusCode::CREATED } else { StatusCode::ACCEPTED };
                return Ok((status, location(task_id), Json(task)).into_response());
            }
            CreateOutcome::Existing(existing) => {
                creation.is_of(existing);
                drop(creation);
                let Some(wait) = wait else {
                    return Ok((StatusCode::OK, Json(summary(state, existing).await?)).into_response());
                };
                let task = get_at_rest(state, existing, wait).await?;
                let status = if task.summary.status.is_at_rest() { StatusCode::OK } else { StatusCode::ACCEPTED };
                return Ok((status, location(existing), Json(task)).into_response());
            }
            CreateOutcome::Conflict(existing) => {
                return Err(ApiError::conflict(
                    "idempotency-key-taken",
                    "Another request has used the idempotency key",
                    format!("another request created task {existing} with this key; use a new key for a new task"),
                ));
            }
            CreateOutcome::Outdated => state.templates.forget_newest(namespace, name),
        }
    }
    Err(ApiError::unavailable("the template changes faster than a task can be created; try again"))
}

/// The response to a creation, as the description of the API shows it.
pub(in crate::rest) struct CreatedTask;

impl PartialSchema for CreatedTask {
    fn schema() -> RefOr<Schema> {
        // Not exactly one of them, because a task with its steps has everything that a task has.
        AnyOfBuilder::new()
            .item(Ref::from_schema_name(TaskSummary::name()))
            .item(Ref::from_schema_name(TaskDetail::name()))
            .description(Some("The response to a creation: the task, and its steps if the request waited."))
            .into()
    }
}

impl ToSchema for CreatedTask {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.extend([
            (TaskSummary::name().into_owned(), TaskSummary::schema()),
            (TaskDetail::name().into_owned(), TaskDetail::schema()),
        ]);
        TaskSummary::schemas(schemas);
        TaskDetail::schemas(schemas);
    }
}

pub(super) fn location(task_id: Uuid) -> [(header::HeaderName, String); 1] {
    [(header::LOCATION, format!("/v1/tasks/{task_id}"))]
}

/// A task that was just created. It needs no query.
fn created(
    template: &CheckedTemplate,
    task_id: Uuid,
    created_at: DateTime<Utc>,
    request: &CreateTask,
    context: &Value,
) -> TaskSummary {
    let stored = &template.stored;
    TaskSummary {
        task_uuid: task_id,
        namespace: stored.namespace.clone(),
        name: stored.name.clone(),
        version: stored.version.clone(),
        status: TaskState::Pending,
        completion_percentage: 0,
        total_steps: stored.total_steps,
        completed_steps: 0,
        failed_steps: 0,
        priority: request.priority.unwrap_or(0),
        tags: request.tags.clone(),
        searchable: Some(searchable(template, context).collect()).filter(|values: &BTreeMap<_, _>| !values.is_empty()),
        created_at,
        started_at: None,
        completed_at: None,
    }
}

pub(in crate::rest) fn check_context(template: &CheckedTemplate, context: &Value) -> Result<(), ApiError> {
    let Some(validator) = &template.validator else { return Ok(()) };
    validator.validate(context).map_err(|errors| {
        let errors: Vec<FieldError> = errors
            .into_iter()
            .map(|error| FieldError { pointer: error.pointer.to_string(), message: error.message })
            .collect();
        let places: Vec<String> =
            errors.iter().map(|error| format!("at '{}': {}", error.pointer, error.message)).collect();
        ApiError::invalid(
            "invalid-context",
            "The context does not match the input_schema of the template",
            places.join("; "),
            errors,
        )
    })
}

/// A digest of the content of a request. Object keys are sorted, so their order in the request does not matter.
fn digest(request: &CreateTask) -> Vec<u8> {
    let CreateTask { namespace, name, version, context, idempotency_key: _, priority, tags } = request;
    let asked = serde_json::json!([namespace, name, version, context, priority.unwrap_or(0), tags]);
    Sha256::digest(asked.to_string().as_bytes()).to_vec()
}

pub(in crate::rest) async fn find_template(
    state: &state::State,
    namespace: &str,
    name: &str,
    version: Option<&str>,
) -> Result<Arc<CheckedTemplate>, ApiError> {
    match state.templates.get(&state.engine, namespace, name, version).await {
        Ok(Some(template)) => Ok(template),
        Ok(None) => Err(templates::not_found(namespace, name, version)),
        Err(TemplateError::Database(error)) => Err(error.into()),
        Err(error @ TemplateError::Schema(..)) => {
            tracing::error!(%error, namespace, name, "a stored template is invalid");
            Err(ApiError::internal())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_change_the_digest() {
        let request = |body: &str| digest(&serde_json::from_str(body).unwrap());
        let one = request(r#"{"namespace":"n","name":"t","context":{"a":1,"b":{"c":1,"d":2}},"idempotency_key":"k"}"#);
        let same = request(r#"{"name":"t","namespace":"n","idempotency_key":"k","context":{"b":{"d":2,"c":1},"a":1}}"#);
        let other =
            request(r#"{"name":"t","namespace":"n","idempotency_key":"k","context":{"b":{"d":2,"c":1},"a":2}}"#);
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
