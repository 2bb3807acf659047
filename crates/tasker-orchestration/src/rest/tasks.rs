//! `/v1/tasks`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tasker_api::limits::{MAX_SEARCHABLE_CHARS, stored_bytes};
use tasker_api::{
    CreateTask, FieldError, ForkTask, ListOfTask, ListTasks, OperatorAction, Problem, RerunTask, ResolveStep, StepList,
    TaskDetail, TaskList, TaskState, TaskSummary, TransitionList,
};
use tasker_engine::{CreateOutcome, NewTask, Operation, OperationOutcome, Rerun, TaskFilter};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::access::Principal;
use super::conditions::{self, cursor, optional_page_size, page_size};
use super::error::ApiError;
use super::extract::{InPath, JsonBody, OptionalJsonBody, QueryString, TaskId};
use super::state;
use super::templates;
use crate::services::metrics::TemplateLabels;
use crate::services::templates::{CheckedTemplate, TemplateError};
use crate::services::waiters::Waiter;
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
pub(super) async fn create(
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
pub(super) async fn create_from(
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
        let creation = Creation::begin(namespace, name);
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

/// The response to a creation: the task, and its steps if the request waited.
#[derive(ToSchema)]
#[schema(title = "CreatedTask")]
#[expect(dead_code, reason = "describes the response")]
#[serde(untagged)]
pub(super) enum CreatedTask {
    Created(TaskSummary),
    AtRest(TaskDetail),
}

fn location(task_id: Uuid) -> [(header::HeaderName, String); 1] {
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

/// The values by which a task can be found: its tags, and what its template calls searchable.
fn values(template: &CheckedTemplate, context: &Value, tags: Option<&Value>) -> Vec<(String, String)> {
    let text = |tag: &Value| tag.as_str().unwrap_or_default().to_owned();
    let mut values: Vec<_> = match tags {
        Some(Value::Array(tags)) => tags.iter().map(|tag| (String::new(), text(tag))).collect(),
        Some(Value::Object(tags)) => tags.iter().map(|(name, tag)| (name.clone(), text(tag))).collect(),
        _ => Vec::new(),
    };
    values.extend(searchable(template, context));
    values
}

/// The searchable values of a context: texts, numbers and booleans.
fn searchable(template: &CheckedTemplate, context: &Value) -> impl Iterator<Item = (String, String)> {
    let pointers = template.stored.searchable.as_ref().and_then(Value::as_array).into_iter().flatten();
    pointers.filter_map(|pointer| {
        let pointer = pointer.as_str()?;
        let text = match context.pointer(pointer)? {
            Value::String(text) => text.clone(),
            value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((pointer.to_owned(), text.chars().take(MAX_SEARCHABLE_CHARS).collect()))
    })
}

/// Creates a new task from the input of another one.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/rerun", params(("task_uuid" = Uuid, Path)),
    request_body = Option<RerunTask>,
    responses(
        (status = 201, body = TaskSummary, description = "The new task is stored durably",
            headers(("Location" = String))),
        (status = 200, body = TaskSummary, description = "The same request was sent before, with the same key"),
        (status = 400, body = Problem), (status = 404, body = Problem, description = "No such task or template"),
        (status = 409, body = Problem, description = "Another request has used the idempotency key"),
        (status = 413, body = Problem),
        (status = 422, body = Problem, description = "The context does not match the input_schema")))]
pub(super) async fn rerun(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    OptionalJsonBody(request): OptionalJsonBody<RerunTask>,
) -> Result<Response, ApiError> {
    let RerunTask { context, version, priority, tags, idempotency_key, actor, reason } = request;
    OperatorAction { actor: actor.clone(), reason: reason.clone() }.check()?;
    require_visible(&state, &principal, task_id).await?;
    let task = state.engine.get_task(task_id, false).await?.ok_or_else(|| no_such_task(task_id))?;
    let context = match (context, task.context) {
        (Some(context), _) | (None, Value::Object(context)) => context,
        (None, _) => return Err(ApiError::internal()),
    };
    let request = CreateTask {
        namespace: task.summary.namespace,
        name: task.summary.name,
        version,
        context,
        idempotency_key,
        priority: Some(priority.unwrap_or(task.summary.priority)),
        tags: tags.or(task.summary.tags),
    };
    let actor = principal.actor(actor.as_deref());
    request.check()?;
    let rerun = Rerun { of: task_id, actor, reason };
    create_from(&state, &principal, &request, None, Some(&rerun)).await
}

pub(super) fn check_context(template: &CheckedTemplate, context: &Value) -> Result<(), ApiError> {
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

pub(super) async fn find_template(
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

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Wait until the task is at rest, but no longer than this, such as `30s` or `500ms`. The server shortens long
    /// waits: by default to one minute.
    wait: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetTask {
    /// Wait until the task is at rest, but no longer than this, such as `30s` or `500ms`. The server shortens long
    /// waits: by default to one minute.
    wait: Option<String>,
    /// Whether the steps come with their results. They do by default.
    results: Option<bool>,
}

/// Shows a task with its steps, either at once or when it is at rest.
#[utoipa::path(get, path = "/v1/tasks/{task_uuid}", params(("task_uuid" = Uuid, Path), GetTask),
    responses((status = 200, body = TaskDetail), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    QueryString(query): QueryString<GetTask>,
) -> Result<Json<Arc<TaskDetail>>, ApiError> {
    // Before the wait: how long it takes would tell whether the task exists.
    require_visible(&state, &principal, task_id).await?;
    let results = query.results.unwrap_or(true);
    let task = match (Wait { wait: query.wait }.duration(&state)?, results) {
        (Some(wait), true) => get_at_rest(&state, task_id, wait).await?,
        (Some(wait), false) => {
            get_at_rest(&state, task_id, wait).await?;
            get_now(&state, task_id, false).await?
        }
        (None, _) => get_now(&state, task_id, results).await?,
    };
    Ok(Json(task))
}

impl Wait {
    /// How long to wait, if the request says so.
    fn duration(&self, state: &state::State) -> Result<Option<Duration>, ApiError> {
        let wait = self.wait.as_deref().map(parse_wait).transpose()?;
        Ok(wait.map(|wait| wait.min(state.settings.max_wait())))
    }
}

/// Returns the task as soon as it is at rest, and as it is after `wait` or when the server shuts down.
async fn get_at_rest(state: &state::State, task_id: Uuid, wait: Duration) -> Result<Arc<TaskDetail>, ApiError> {
    let waiter = state.waiters.register(task_id);
    let task = get_now(state, task_id, true).await?;
    if task.summary.status.is_at_rest() { Ok(task) } else { until_rest(state, task_id, waiter, wait).await }
}

async fn until_rest(
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

async fn get_now(state: &state::State, task_id: Uuid, results: bool) -> Result<Arc<TaskDetail>, ApiError> {
    state.engine.get_task(task_id, results).await?.map(Arc::new).ok_or_else(|| no_such_task(task_id))
}

fn parse_wait(text: &str) -> Result<Duration, ApiError> {
    humantime::parse_duration(text).map_err(|error| {
        ApiError::malformed(format!("wait must be a duration such as 30s, 500ms or 1m, not '{text}': {error}"))
    })
}

/// Lists tasks, newest first.
#[utoipa::path(get, path = "/v1/tasks", params(ListTasks),
    responses((status = 200, body = TaskList), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<ListTasks>,
) -> Result<Json<TaskList>, ApiError> {
    let limit = page_size(query.limit)?;
    let before: Option<Uuid> = cursor(query.cursor.as_deref())?;
    let (wanted, text) = conditions::of_list(query);
    let filter = conditions::filter(&wanted, &principal)?;
    let before = match (before, filter.before) {
        (Some(cursor), Some(bound)) => Some(cursor.min(bound)),
        (cursor, bound) => cursor.or(bound),
    };
    let page = state.engine.list_tasks(&TaskFilter { text, before, ..filter }, limit).await?;
    Ok(Json(TaskList { tasks: page.tasks, next_cursor: page.next.map(|next| next.to_string()) }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WithResults {
    /// Whether the steps come with their results. They do by default.
    results: Option<bool>,
}

/// Shows the steps of a task.
#[utoipa::path(get, path = "/v1/tasks/{task_uuid}/steps", params(("task_uuid" = Uuid, Path), WithResults),
    responses((status = 200, body = StepList), (status = 404, body = Problem)))]
pub(super) async fn steps(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    QueryString(query): QueryString<WithResults>,
) -> Result<Json<StepList>, ApiError> {
    require_visible(&state, &principal, task_id).await?;
    let steps = state
        .engine
        .list_steps(task_id, query.results.unwrap_or(true), None)
        .await?
        .ok_or_else(|| no_such_task(task_id))?;
    Ok(Json(StepList { steps }))
}

/// Shows the state changes of a task and its steps.
#[utoipa::path(get, path = "/v1/tasks/{task_uuid}/transitions", params(("task_uuid" = Uuid, Path), ListOfTask),
    responses((status = 200, body = TransitionList), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn transitions(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    QueryString(query): QueryString<ListOfTask>,
) -> Result<Json<TransitionList>, ApiError> {
    summary_visible_to(&state, &principal, task_id).await?;
    let limit = optional_page_size(query.limit)?;
    let after = cursor(query.cursor.as_deref())?.unwrap_or(0);
    let more = limit.map(|limit| limit.saturating_add(1));
    let mut transitions = state.engine.list_transitions(task_id, query.step.as_deref(), after, more).await?;
    let next_cursor = super::last_of_page(&mut transitions, limit).map(|last| last.id.to_string());
    Ok(Json(TransitionList { transitions, next_cursor }))
}

/// Cancels a task. None of its steps starts any more.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/cancel", params(("task_uuid" = Uuid, Path)),
    request_body = Option<OperatorAction>,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The task has ended")))]
pub(super) async fn cancel(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    OptionalJsonBody(action): OptionalJsonBody<OperatorAction>,
) -> Result<Json<TaskSummary>, ApiError> {
    operate(&state, &principal, task_id, &Operation::Cancel, action).await
}

/// Marks a task that is blocked by failures as failed.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/fail", params(("task_uuid" = Uuid, Path)),
    request_body = Option<OperatorAction>,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The task is not blocked")))]
pub(super) async fn fail(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    OptionalJsonBody(action): OptionalJsonBody<OperatorAction>,
) -> Result<Json<TaskSummary>, ApiError> {
    operate(&state, &principal, task_id, &Operation::Fail, action).await
}

/// Runs all failed steps of a task again, with all their attempts.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/retry", params(("task_uuid" = Uuid, Path)),
    request_body = Option<OperatorAction>,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "No step has failed, or the task has ended")))]
pub(super) async fn retry(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    OptionalJsonBody(action): OptionalJsonBody<OperatorAction>,
) -> Result<Json<TaskSummary>, ApiError> {
    operate(&state, &principal, task_id, &Operation::Retry { step: None }, action).await
}

#[derive(Deserialize)]
pub(super) struct StepInPath {
    pub(super) name: String,
}

/// Runs a failed step again, with all its attempts.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/steps/{name}/retry",
    params(("task_uuid" = Uuid, Path), ("name" = String, Path)), request_body = Option<OperatorAction>,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The step has not failed, or the task has ended")))]
pub(super) async fn retry_step(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    InPath(step): InPath<StepInPath>,
    OptionalJsonBody(action): OptionalJsonBody<OperatorAction>,
) -> Result<Json<TaskSummary>, ApiError> {
    operate(&state, &principal, task_id, &Operation::Retry { step: Some(step.name) }, action).await
}

/// Sets the result of a step by hand. The steps that depend on it continue.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/steps/{name}/resolve",
    params(("task_uuid" = Uuid, Path), ("name" = String, Path)), request_body = ResolveStep,
    responses(
        (status = 200, body = TaskSummary),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The step has a result, or the task has ended")))]
pub(super) async fn resolve_step(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    InPath(step): InPath<StepInPath>,
    JsonBody(body): JsonBody<ResolveStep>,
) -> Result<Json<TaskSummary>, ApiError> {
    body.check()?;
    let ResolveStep { result, actor, reason } = body;
    operate(
        &state,
        &principal,
        task_id,
        &Operation::Resolve { step: step.name, result },
        OperatorAction { actor, reason },
    )
    .await
}

/// Runs a task again from a step, as a new task. It has the input of the task, and the results of all steps that do not
/// depend on that step. The old task does not change.
#[utoipa::path(post, path = "/v1/tasks/{task_uuid}/fork", params(("task_uuid" = Uuid, Path)), request_body = ForkTask,
    responses(
        (status = 201, body = TaskSummary, description = "The new task is stored", headers(("Location" = String))),
        (status = 404, body = Problem)))]
pub(super) async fn fork(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    TaskId(task_id): TaskId,
    JsonBody(body): JsonBody<ForkTask>,
) -> Result<Response, ApiError> {
    let ForkTask { step, actor, reason } = body;
    OperatorAction { actor: actor.clone(), reason: reason.clone() }.check()?;
    require_visible(&state, &principal, task_id).await?;
    let fork_id = Uuid::now_v7();
    let actor = principal.actor(actor.as_deref());
    let task = summary(&state, task_id).await?;
    let creation = Creation::begin(&task.namespace, &task.name);
    let (actor, traceparent) = (actor.as_deref(), creation.traceparent());
    let forking = state.engine.fork_task(task_id, &step, fork_id, actor, reason.as_deref(), traceparent.as_deref());
    match forking.await? {
        OperationOutcome::Done => state.writability.written(),
        OperationOutcome::NotFound | OperationOutcome::WrongState(_) => return Err(no_such_task(task_id)),
        OperationOutcome::NoStep => return Err(no_such_step(task_id)),
    }
    creation.is_of(fork_id);
    drop(creation);
    let fork = summary(&state, fork_id).await?;
    Ok((StatusCode::CREATED, location(fork_id), Json(fork)).into_response())
}

async fn operate(
    state: &state::State,
    principal: &Principal,
    task_id: Uuid,
    operation: &Operation,
    action: OperatorAction,
) -> Result<Json<TaskSummary>, ApiError> {
    action.check()?;
    require_visible(state, principal, task_id).await?;
    let OperatorAction { actor, reason } = action;
    let actor = principal.actor(actor.as_deref());
    let outcome = state.engine.operate(task_id, operation, actor.as_deref(), reason.as_deref()).await?;
    match outcome {
        OperationOutcome::Done => {
            state.writability.written();
            Ok(Json(summary(state, task_id).await?))
        }
        OperationOutcome::NotFound => Err(no_such_task(task_id)),
        OperationOutcome::NoStep => Err(no_such_step(task_id)),
        OperationOutcome::WrongState(found) => Err(ApiError::conflict(
            "wrong-state",
            "The current state does not allow this",
            match operation {
                Operation::Cancel => format!("the task is {found}: it has already ended"),
                Operation::Fail => {
                    format!("the task is {found}: only a task that is blocked_by_failures can be failed")
                }
                Operation::Retry { step: None } => {
                    format!("the task is {found}: only a task that has failed steps and has not ended can be retried")
                }
                Operation::Retry { step: Some(step) } => {
                    format!(
                        "step {step} is {found}: only a failed step of a task that has not ended can be retried, and no \
                         child whose group has failure_strategy continue_on_failure"
                    )
                }
                Operation::Resolve { step, .. } => format!(
                    "step {step} is {found}: only a step without a result in a task that has not ended can be resolved, \
                     and no failed child whose group has failure_strategy continue_on_failure"
                ),
            },
        )),
    }
}

pub(super) async fn summary(state: &state::State, task_id: Uuid) -> Result<TaskSummary, ApiError> {
    state.engine.get_task_summary(task_id).await?.ok_or_else(|| no_such_task(task_id))
}

/// Refuses a task of a namespace that the principal may not use, as if there were no such task.
pub(super) async fn require_visible(
    state: &state::State,
    principal: &Principal,
    task_id: Uuid,
) -> Result<(), ApiError> {
    if principal.is_restricted() && !principal.covers(&summary(state, task_id).await?.namespace) {
        return Err(no_such_task(task_id));
    }
    Ok(())
}

/// Returns a task that the principal may see.
pub(super) async fn summary_visible_to(
    state: &state::State,
    principal: &Principal,
    task_id: Uuid,
) -> Result<TaskSummary, ApiError> {
    let summary = summary(state, task_id).await?;
    if principal.covers(&summary.namespace) { Ok(summary) } else { Err(no_such_task(task_id)) }
}

pub(super) fn no_such_step(task_id: Uuid) -> ApiError {
    ApiError::not_found(
        "step",
        format!("task {task_id} has no step of this name; GET /v1/tasks/{task_id}/steps lists them"),
    )
}

pub(super) fn no_such_task(task_id: Uuid) -> ApiError {
    ApiError::not_found("task", format!("there is no task {task_id}"))
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
