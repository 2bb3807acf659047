//! `/v1/templates`

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::{HeaderName, header};
use axum::{Extension, Json};
use serde::Deserialize;
use tasker_api::{
    AppliedTemplate, FieldError, ListTemplates, Problem, TemplateDetail, TemplateLayout, TemplateList, TemplateOutcome,
};
use tasker_engine::ApplyOutcome;
use tasker_runtime::settings::environment;
use tasker_template::Finding;
use utoipa::IntoParams;

use super::access::Principal;
use super::conditions::{cursor, optional_page_size};
use super::error::ApiError;
use super::extract::{InPath, QueryString, YamlBody};
use super::state;

fn field_errors(findings: &[Finding]) -> Vec<FieldError> {
    findings
        .iter()
        .map(|finding| FieldError {
            pointer: format!("{}:{}", finding.line, finding.column),
            message: if finding.path.is_empty() {
                finding.message.clone()
            } else {
                format!("{}: {}", finding.path, finding.message)
            },
        })
        .collect()
}

/// Stores a version of a template, from YAML or JSON text.
#[utoipa::path(post, path = "/v1/templates",
    request_body(content = String, content_type = "application/yaml"),
    responses(
        (status = 201, body = AppliedTemplate, description = "This version is new"),
        (status = 200, body = AppliedTemplate, description = "This version already exists, with the same content"),
        (status = 409, body = Problem, description = "This version already exists, with other content"),
        (status = 422, body = Problem, description = "The template is invalid; each error has its line")))]
pub(super) async fn apply(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    YamlBody(source): YamlBody,
) -> Result<(StatusCode, Json<AppliedTemplate>), ApiError> {
    let parsed = tasker_template::parse(&source, None).map_err(|errors| {
        ApiError::invalid("invalid-template", "The template is invalid", errors.to_string(), field_errors(&errors.0))
    })?;
    let template = parsed.template;
    principal.require_namespace(&template.namespace_name)?;
    let (code, outcome) = match state.engine.apply_template(&template, &environment()).await? {
        ApplyOutcome::Created => {
            state.writability.written();
            let (namespace, name, version) = (&template.namespace_name, &template.name, &template.version);
            tracing::info!(principal = principal.name(), namespace, name, %version, "stored a template");
            (StatusCode::CREATED, TemplateOutcome::Created)
        }
        ApplyOutcome::Unchanged => (StatusCode::OK, TemplateOutcome::Unchanged),
        ApplyOutcome::Conflict => {
            return Err(ApiError::conflict(
                "template-version-taken",
                "This version already exists with other content",
                format!(
                    "version {} of {}/{} already exists with other content, and a stored version never changes; \
                     give the template a new version",
                    template.version, template.namespace_name, template.name
                ),
            ));
        }
    };
    Ok((
        code,
        Json(AppliedTemplate {
            namespace: template.namespace_name,
            name: template.name,
            version: template.version.to_string(),
            outcome,
            warnings: field_errors(&parsed.warnings),
        }),
    ))
}

/// Lists versions of templates.
#[utoipa::path(get, path = "/v1/templates", params(ListTemplates),
    responses((status = 200, body = TemplateList), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    QueryString(query): QueryString<ListTemplates>,
) -> Result<Json<TemplateList>, ApiError> {
    if let Some(namespace) = &query.namespace {
        principal.require_namespace(namespace)?;
    }
    let limit = optional_page_size(query.limit)?;
    // Versions are few and never change, so a page begins at a number.
    let skip: u32 = cursor(query.cursor.as_deref())?.unwrap_or(0);
    let (namespace, name) = (query.namespace.as_deref(), query.name.as_deref());
    let more = limit.map(|limit| limit.saturating_add(1));
    let mut templates = state.engine.list_templates(namespace, name, skip, more).await?;
    let more = super::last_of_page(&mut templates, limit).is_some();
    let next_cursor = limit.filter(|_| more).map(|limit| skip.saturating_add(limit).to_string());
    templates.retain(|template| principal.covers(&template.namespace));
    Ok(Json(TemplateList { templates, next_cursor }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfVersion {
    /// The version. If absent, the newest one.
    version: Option<String>,
}

/// Shows a version of a template.
#[utoipa::path(get, path = "/v1/templates/{namespace}/{name}",
    params(("namespace" = String, Path), ("name" = String, Path), OfVersion),
    responses((status = 200, body = TemplateDetail), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath((namespace, name)): InPath<(String, String)>,
    QueryString(query): QueryString<OfVersion>,
) -> Result<Json<TemplateDetail>, ApiError> {
    principal.require_namespace(&namespace)?;
    let version = query.version.as_deref();
    match state.engine.get_template(&namespace, &name, version).await? {
        Some(template) => Ok(Json(template)),
        None => Err(not_found(&namespace, &name, version)),
    }
}

/// Shows where each step of a template's graph is drawn. The layout of a version never changes.
#[utoipa::path(get, path = "/v1/templates/{namespace}/{name}/layout",
    params(("namespace" = String, Path), ("name" = String, Path), OfVersion),
    responses((status = 200, body = TemplateLayout), (status = 404, body = Problem)))]
pub(super) async fn layout(
    State(state): State<Arc<state::State>>,
    Extension(principal): Extension<Arc<Principal>>,
    InPath((namespace, name)): InPath<(String, String)>,
    QueryString(query): QueryString<OfVersion>,
) -> Result<([(HeaderName, &'static str); 1], Json<TemplateLayout>), ApiError> {
    principal.require_namespace(&namespace)?;
    let version = query.version.as_deref();
    let template = state.engine.get_template(&namespace, &name, version).await?;
    let template = template.ok_or_else(|| not_found(&namespace, &name, version))?;
    let definition = template.definition.to_string();
    let drawn = tokio::task::spawn_blocking(move || {
        tasker_template::parse(&definition, None).map(|parsed| parsed.template.layout())
    });
    let graph = drawn.await.map_err(|_| ApiError::internal())?.map_err(|error| {
        tracing::error!(%error, namespace, name, "a stored template is invalid");
        ApiError::internal()
    })?;
    let tasker_api::TemplateSummary { namespace, name, version: found, .. } = template.summary;
    let cached = if version.is_some() { "private, max-age=31536000, immutable" } else { "no-cache" };
    Ok(([(header::CACHE_CONTROL, cached)], Json(TemplateLayout { namespace, name, version: found, graph })))
}

/// 404: no such template.
pub(super) fn not_found(namespace: &str, name: &str, version: Option<&str>) -> ApiError {
    let version = version.map(|version| format!(" in version {version}")).unwrap_or_default();
    ApiError::not_found(
        "template",
        format!("namespace '{namespace}' has no template '{name}'{version}; GET /v1/templates lists the templates"),
    )
}
