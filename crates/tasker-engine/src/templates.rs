//! Storing and reading task templates.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::{FromRow, Type};
use tasker_api::{TemplateDetail, TemplateSummary};
use tasker_template::{Event, StepTemplate, StepType, TaskTemplate, version_key};

use crate::Engine;
use crate::statements::statements;

statements! {
    APPLY_TEMPLATE = "select outcome from tasker.apply_template($1, $2, $3, $4, $5, $6)";
    FIND_TEMPLATE = "select template_id, namespace, name, version,
            nullif(definition -> 'input_schema', 'null') as input_schema, definition -> 'searchable' as searchable,
            total_steps
        from tasker.task_templates
        where namespace = $1 and name = $2 and ($3::text is null or version = $3)
        order by version_key desc limit 1";
    LIST_TEMPLATES = "select namespace, name, version, definition ->> 'description' as description, total_steps,
            created_at, null::jsonb as definition
        from tasker.task_templates
        where ($1::text is null or namespace = $1) and ($2::text is null or name = $2)
        order by namespace, name, version_key desc offset $3 limit $4";
    GET_TEMPLATE = "select namespace, name, version, definition ->> 'description' as description, total_steps,
            created_at, definition
        from tasker.task_templates
        where namespace = $1 and name = $2 and ($3::text is null or version = $3)
        order by version_key desc limit 1";
    OTHER_CALLABLES = "select distinct ts.callable
        from (
            select distinct on (namespace, name) template_id
            from tasker.task_templates where namespace = any ($1)
            order by namespace, name, version_key desc
        ) newest
        join tasker.template_steps ts using (template_id)
        where ts.callable <> all ($2) and (ts.admission ? 'task') is not true
        order by ts.callable";
}

/// The outcome of storing a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ApplyOutcome {
    /// This version is new.
    Created,
    /// This version exists with the same content.
    Unchanged,
    /// This version exists with different content and was not changed.
    Conflict,
}

/// The part of a stored template that the creation of tasks needs.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct StoredTemplate {
    /// The version's key in the database.
    pub template_id: i64,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The JSON Schema of a task's context, if the template has one.
    pub input_schema: Option<Value>,
    /// JSON pointers to the values of a task's context by which it can be found, if the template names any: an array of
    /// strings.
    pub searchable: Option<Value>,
    /// The number of steps.
    pub total_steps: i16,
}

#[derive(FromRow)]
struct TemplateRow {
    namespace: String,
    name: String,
    version: String,
    description: Option<String>,
    total_steps: i16,
    created_at: DateTime<Utc>,
    definition: Option<Value>,
}

impl From<TemplateRow> for TemplateSummary {
    fn from(row: TemplateRow) -> Self {
        Self {
            namespace: row.namespace,
            name: row.name,
            version: row.version,
            description: row.description,
            total_steps: row.total_steps,
            created_at: row.created_at,
        }
    }
}

/// What decides whether and how a step runs once its dependencies have settled. See `admission` of
/// `tasker.template_steps`.
fn admission(template: &TaskTemplate, step: &StepTemplate) -> Option<Value> {
    let mut admission = Map::new();
    if step.step_type == StepType::DeferredConvergence {
        admission.insert("join".into(), json!("any"));
    }
    if !step.when.is_empty() {
        admission.insert("when".into(), json!(step.when));
    }
    let expand = match (&step.map, &step.batch_config) {
        (Some(map), _) => Some(json!({
            "kind": "map", "step": map.step, "path": map.path, "parallelism": map.parallelism,
            "failure_strategy": map.failure_strategy,
        })),
        (None, Some(config)) if step.step_type == StepType::BatchWorker => Some(json!({
            "kind": "batches",
            "step": template.steps.iter().position(|other| step.dependencies.first() == Some(&other.name)),
            "parallelism": config.parallelism, "failure_strategy": config.failure_strategy,
            "cursor_field": config.cursor_field,
        })),
        (None, _) => None,
    };
    admission.extend(step.wait.as_ref().map(|wait| ("wait".to_owned(), json!(wait))));
    admission.extend(step.concurrency.as_ref().map(|gate| ("concurrency".to_owned(), json!(gate))));
    admission.extend(step.rate.as_ref().map(|gate| ("rate".to_owned(), json!(gate))));
    admission.extend(step.task.as_ref().map(|task| ("task".to_owned(), json!(task))));
    admission.extend(expand.map(|expand| ("expand".to_owned(), expand)));
    (!admission.is_empty()).then_some(Value::Object(admission))
}

/// What else the result of a step decides. See `outcome` of `tasker.template_steps`.
fn outcome(step_type: StepType) -> Option<&'static str> {
    match step_type {
        StepType::Decision => Some("decision"),
        StepType::Batchable => Some("batches"),
        StepType::Standard | StepType::DeferredConvergence | StepType::BatchWorker => None,
    }
}

/// The events that a step publishes. See `events` of `tasker.template_steps`.
fn events(step: &StepTemplate) -> Option<Value> {
    let event = |event: &Event| json!({ "name": event.name, "condition": event.condition });
    (!step.events.is_empty()).then(|| step.events.iter().map(event).collect())
}

impl Engine {
    /// Stores a version of a template, with its steps as they are in an environment. Creates its namespace and queue if they
    /// do not exist, and the queue of its events if it publishes any.
    ///
    /// # Errors
    /// When the database fails. When a name that ends with `_domain_events` makes two namespaces need the same queue.
    pub async fn apply_template(&self, template: &TaskTemplate, environment: &str) -> sqlx::Result<ApplyOutcome> {
        let steps: Vec<Value> = template
            .steps_in(environment)
            .iter()
            .enumerate()
            .map(|(number, step)| {
                json!({
                    "name": step.name,
                    "callable": step.callable(),
                    "initialization": step.initialization(),
                    "dependencies": template.dependencies_of(number),
                    "dependents": template.dependents_of(number),
                    "max_attempts": step.retry.max_attempts(),
                    "backoff": step.retry.backoff,
                    "backoff_base_ms": step.retry.backoff_base_ms,
                    "max_backoff_ms": step.retry.max_backoff_ms,
                    "timeout_seconds": step.timeout_seconds,
                    "admission": admission(template, step),
                    "outcome": outcome(step.step_type),
                    "events": events(step),
                })
            })
            .collect();
        let outcome: ApplyOutcome = sqlx::query_scalar(APPLY_TEMPLATE)
            .bind(&template.namespace_name)
            .bind(&template.name)
            .bind(template.version.to_string())
            .bind(version_key(&template.version))
            .bind(sqlx::types::Json(template))
            .bind(Value::Array(steps))
            .fetch_one(&self.pool)
            .await?;
        Ok(outcome)
    }

    /// Finds a version of a template, or the newest one. None if the template does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_template(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> sqlx::Result<Option<StoredTemplate>> {
        sqlx::query_as(FIND_TEMPLATE).bind(namespace).bind(name).bind(version).fetch_optional(&self.pool).await
    }

    /// Lists versions of templates, of one namespace and name or all, ordered by namespace, name and version. The newest
    /// version comes first. Leaves out the first `skip` and returns at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_templates(
        &self,
        namespace: Option<&str>,
        name: Option<&str>,
        skip: u32,
        limit: Option<u32>,
    ) -> sqlx::Result<Vec<TemplateSummary>> {
        let rows: Vec<TemplateRow> = sqlx::query_as(LIST_TEMPLATES)
            .bind(namespace)
            .bind(name)
            .bind(i64::from(skip))
            .bind(limit.map(i64::from))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(TemplateSummary::from).collect())
    }

    /// Returns a version of a template, or the newest one, with its whole definition. None if the template does not
    /// exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_template(
        &self,
        namespace: &str,
        name: &str,
        version: Option<&str>,
    ) -> sqlx::Result<Option<TemplateDetail>> {
        let row: Option<TemplateRow> =
            sqlx::query_as(GET_TEMPLATE).bind(namespace).bind(name).bind(version).fetch_optional(&self.pool).await?;
        Ok(row.map(|mut row| TemplateDetail {
            definition: row.definition.take().unwrap_or_default(),
            summary: row.into(),
        }))
    }

    /// The callables that the newest versions of the templates of these namespaces use, except those of `known`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn other_callables(&self, namespaces: &[String], known: &[&str]) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(OTHER_CALLABLES).bind(namespaces).bind(known).fetch_all(&self.pool).await
    }
}
