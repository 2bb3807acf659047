//! Task templates. Clients send them as YAML or JSON text; see crate `tasker-template`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::FieldError;

/// The outcome of storing a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateOutcome {
    /// This version is new.
    Created,
    /// This version already existed, with the same content.
    Unchanged,
}

/// The response to `POST /v1/templates`: 201 if the version is new, 200 if it already existed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AppliedTemplate {
    /// The template's namespace.
    pub namespace: String,
    /// The template's name.
    pub name: String,
    /// The template's version.
    pub version: String,
    /// The outcome.
    pub outcome: TemplateOutcome,
    /// The parts of the template that Tasker ignores.
    pub warnings: Vec<FieldError>,
}

/// The response to `GET /v1/templates`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TemplateList {
    /// All versions of all templates, sorted by namespace, name and version. The newest version comes first.
    pub templates: Vec<TemplateSummary>,
    /// The cursor of the next page. Absent on the last page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// The query of `GET /v1/templates`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListTemplates {
    /// Only templates of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Only templates of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The most versions of a page. If absent, the list has one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// The start of the page: `next_cursor` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^[0-9]{1,9}$")]
    pub cursor: Option<String>,
}

/// One version of a template.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TemplateSummary {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// What the template is for.
    pub description: Option<String>,
    /// How many steps it has.
    pub total_steps: i16,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// The response to `GET /v1/templates/{namespace}/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TemplateDetail {
    /// The fields that lists contain too.
    #[serde(flatten)]
    pub summary: TemplateSummary,
    /// The whole template as JSON.
    #[schema(value_type = Object)]
    pub definition: Value,
}
