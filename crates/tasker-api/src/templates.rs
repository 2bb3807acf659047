//! Task templates, as the API shows them. They are sent as YAML or JSON text: see crate `tasker-template`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::FieldError;

/// What storing a template did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateOutcome {
    /// This version is new.
    Created,
    /// This version was stored before, with the same content.
    Unchanged,
}

/// `POST /v1/templates`: 201 where the version is new, 200 where it was stored before.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AppliedTemplate {
    /// The template's namespace.
    pub namespace: String,
    /// The template's name.
    pub name: String,
    /// The template's version.
    pub version: String,
    /// What storing it did.
    pub outcome: TemplateOutcome,
    /// What the template says that Tasker does not know or obey.
    pub warnings: Vec<FieldError>,
}

/// `GET /v1/templates`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TemplateList {
    /// Every version of every template, by namespace, name and version, newest version first.
    pub templates: Vec<TemplateSummary>,
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
    /// What it is for.
    pub description: Option<String>,
    /// How many steps it has.
    pub total_steps: i16,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// `GET /v1/templates/{namespace}/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TemplateDetail {
    /// What lists show.
    #[serde(flatten)]
    pub summary: TemplateSummary,
    /// The whole template, in the format that it was sent in, as JSON.
    #[schema(value_type = Object)]
    pub definition: Value,
}
