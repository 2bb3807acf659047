//! What the description of the API (OpenAPI) says beyond the single routes: limits, errors, and what needs no key.

use std::collections::BTreeMap;

use axum::http::Method;
use tasker_api::limits::{
    DEFAULT_PAGE, MAX_ACTOR_CHARS, MAX_CATCH_UP_SECONDS, MAX_CRON_CHARS, MAX_IDEMPOTENCY_KEY_CHARS, MAX_NAME_CHARS,
    MAX_NAMESPACE_CHARS, MAX_NOTES_CHARS, MAX_PAGE, MAX_PRIORITY, MAX_REASON_CHARS, MAX_VERSION_CHARS,
};
use tasker_api::{PROBLEM_CONTENT_TYPE, TaskState};
use utoipa::openapi::path::{Operation, Parameter, PathItem};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, Response, Schema};

/// The shortest and longest texts in requests, in characters: schema, field, and the two limits.
const TEXTS: [(&str, &str, usize, usize); 24] = [
    ("CreateTask", "namespace", 1, MAX_NAMESPACE_CHARS),
    ("CreateTask", "name", 1, MAX_NAME_CHARS),
    ("CreateTask", "version", 1, MAX_VERSION_CHARS),
    ("CreateTask", "idempotency_key", 1, MAX_IDEMPOTENCY_KEY_CHARS),
    ("ForkTask", "actor", 0, MAX_ACTOR_CHARS),
    ("ForkTask", "reason", 0, MAX_REASON_CHARS),
    ("OpenDeadLetter", "resolution_notes", 0, MAX_NOTES_CHARS),
    ("PatchDeadLetter", "resolution_notes", 0, MAX_NOTES_CHARS),
    ("PatchDeadLetter", "resolved_by", 0, MAX_ACTOR_CHARS),
    ("OperatorAction", "actor", 0, MAX_ACTOR_CHARS),
    ("OperatorAction", "reason", 0, MAX_REASON_CHARS),
    ("PutSchedule", "namespace", 1, MAX_NAMESPACE_CHARS),
    ("PutSchedule", "template", 1, MAX_NAME_CHARS),
    ("PutSchedule", "version", 1, MAX_VERSION_CHARS),
    ("PutSchedule", "cron", 1, MAX_CRON_CHARS),
    ("ResolveStep", "actor", 0, MAX_ACTOR_CHARS),
    ("ResolveStep", "reason", 0, MAX_REASON_CHARS),
    ("SendSignal", "actor", 0, MAX_ACTOR_CHARS),
    ("RerunTask", "version", 1, MAX_VERSION_CHARS),
    ("RerunTask", "idempotency_key", 1, MAX_IDEMPOTENCY_KEY_CHARS),
    ("RerunTask", "actor", 0, MAX_ACTOR_CHARS),
    ("RerunTask", "reason", 0, MAX_REASON_CHARS),
    ("CreateBulkJob", "actor", 0, MAX_ACTOR_CHARS),
    ("CreateBulkJob", "reason", 0, MAX_REASON_CHARS),
];

/// The pattern of a topic of the live stream.
const TOPIC: &str =
    "(task|row|bulk):[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|stats|workers|new(:[^,]+)?";

/// Errors that every route below `/v1` can respond with.
const ERRORS: [(&str, &str); 8] = [
    ("400", "The request is malformed"),
    ("401", "The request has no valid key or token"),
    ("403", "The key or token lacks a scope, or the request comes from another web site"),
    ("421", "The server has no keys and does not know this host name"),
    ("431", "The headers are too large; this response has no body"),
    ("500", "Internal server error"),
    ("503", "The service is temporarily unavailable"),
    ("405", "The path does not accept this method"),
];

/// Errors that a route with a request body can respond with.
const BODY_ERRORS: [(&str, &str); 3] = [
    ("408", "The request body did not arrive in time"),
    ("413", "The request body is too large"),
    ("415", "The request body has the wrong media type or encoding"),
];

/// Completes the description.
pub(super) fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            if path.starts_with("/v1/") || path == "/metrics" {
                add_errors(operation, matches!(method, Method::POST | Method::PUT | Method::PATCH));
            }
            if path.starts_with("/health") {
                operation.security = Some(Vec::new());
            }
            // The media type is needed even if the body is empty, so the body counts as required.
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                body.required = Some(Required::True);
            }
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(parameter) = parameter {
                    limit_parameter(parameter);
                }
            }
            describe_responses(operation);
        }
    }
    let schemas = document.components.get_or_insert_default();
    for (schema, field, min, max) in TEXTS {
        if let Some(field) = field_of(&mut schemas.schemas, schema, field) {
            field.min_length = Some(min).filter(|min| *min > 0);
            field.max_length = Some(max);
        }
    }
    if let Some(field) = field_of(&mut schemas.schemas, "TaskConditions", "status") {
        field.pattern = Some(states());
    }
    for (schema, field, max) in [
        ("CreateTask", "priority", i64::from(MAX_PRIORITY)),
        ("RerunTask", "priority", i64::from(MAX_PRIORITY)),
        ("PutSchedule", "priority", i64::from(MAX_PRIORITY)),
        ("PutSchedule", "catch_up_seconds", i64::from(MAX_CATCH_UP_SECONDS)),
    ] {
        if let Some(field) = field_of(&mut schemas.schemas, schema, field) {
            field.minimum = Some(0.into());
            field.maximum = Some(max.into());
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let get = item.get.iter_mut().map(|operation| (Method::GET, operation));
    let changes = [
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ];
    get.chain(changes.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?))))
}

fn add_errors(operation: &mut Operation, body: bool) {
    let of_body = BODY_ERRORS.iter().filter(|_| body);
    for (status, description) in ERRORS.iter().chain(of_body) {
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| {
            let mut response = Response::new(*description);
            if *status != "431" {
                let problem = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
                response.content.insert("application/json".to_owned(), problem.into());
            }
            response.into()
        });
    }
}

/// Gives errors their media type, and each response a description, which OpenAPI requires.
fn describe_responses(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let known = ERRORS.iter().chain(&BODY_ERRORS).find(|(known, _)| known == status);
        if response.description.is_empty() {
            let fallback = match status.as_str() {
                "404" => "There is no such thing",
                "200" => "Success",
                _ => "See the problem document",
            };
            response.description = known.map_or(fallback, |(_, description)| *description).to_owned();
        }
        let problem = RefOr::Ref(Ref::from_schema_name("Problem"));
        let is_problem = |content: &RefOr<Content>| match content {
            RefOr::T(content) => content.schema.as_ref() == Some(&problem),
            RefOr::Ref(_) => false,
        };
        if response.content.get("application/json").is_some_and(is_problem)
            && let Some(content) = response.content.shift_remove("application/json")
        {
            response.content.insert(PROBLEM_CONTENT_TYPE.to_owned(), content);
        }
    }
}

/// One or more states of tasks.
fn states() -> String {
    list_of(&TaskState::ALL.iter().map(|state| state.as_str()).collect::<Vec<_>>().join("|"))
}

/// The pattern of a list that is separated by commas.
fn list_of(item: &str) -> String {
    format!("^({item})(,({item}))*$")
}

fn limit_parameter(parameter: &mut Parameter) {
    let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else { return };
    if parameter.name == "limit" {
        schema.minimum = Some(1.into());
        schema.maximum = Some(MAX_PAGE.into());
        schema.default = Some(DEFAULT_PAGE.into());
    }
    match parameter.name.as_str() {
        "wait" => schema.pattern = Some("^[0-9]{1,9}(ms|s|m)$".to_owned()),
        "status" => schema.pattern = Some(states()),
        "topics" => schema.pattern = Some(list_of(TOPIC)),
        _ => {}
    }
}

fn field_of<'a>(
    schemas: &'a mut BTreeMap<String, RefOr<Schema>>,
    schema: &str,
    field: &str,
) -> Option<&'a mut utoipa::openapi::Object> {
    let RefOr::T(Schema::Object(schema)) = schemas.get_mut(schema)? else { return None };
    match schema.properties.get_mut(field)? {
        RefOr::T(Schema::Object(field)) => Some(field),
        _ => None,
    }
}
