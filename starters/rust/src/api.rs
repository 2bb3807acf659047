//! The HTTP API: `POST /orders` creates a task, and `GET /orders/{id}` shows it. With `?wait=SECONDS`, both wait until
//! the task is at rest.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tasker_core::api::TaskDetail;
use tasker_core::client::ClientError;
use tasker_core::{CreateTask, OrchestrationApiClient, OrchestrationClient};
use uuid::Uuid;

use crate::steps::Order;

/// The longest `?wait=`, in seconds.
const LONGEST_WAIT: u64 = 30;

pub fn router(tasker: OrchestrationClient) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/orders", post(create))
        .route("/orders/{id}", get(show))
        .with_state(tasker)
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default)]
    wait: u64,
}

async fn create(
    State(tasker): State<OrchestrationClient>,
    Query(wait): Query<Wait>,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let task = tasker
        .create_task(&CreateTask {
            namespace: "tasker_starter".to_owned(),
            name: "order".to_owned(),
            version: None, // the newest
            context: Map::from_iter([
                ("item".to_owned(), json!(order.item)),
                ("quantity".to_owned(), json!(order.quantity)),
            ]),
            // With a key, the client repeats the request if the server is away for a moment.
            idempotency_key: Some(Uuid::new_v4().to_string()),
            priority: None,
            tags: None,
        })
        .await?;
    Ok((
        StatusCode::CREATED,
        order_of(&tasker, task.task_uuid, &wait).await?,
    ))
}

async fn show(
    State(tasker): State<OrchestrationClient>,
    Query(wait): Query<Wait>,
    Path(id): Path<Uuid>,
) -> Result<Json<Value>, Error> {
    order_of(&tasker, id, &wait).await
}

async fn order_of(
    tasker: &OrchestrationClient,
    id: Uuid,
    wait: &Wait,
) -> Result<Json<Value>, Error> {
    let wait = Duration::from_secs(wait.wait.min(LONGEST_WAIT));
    let TaskDetail { summary, steps, .. } = tasker.get_task_at_rest(id, wait).await?;
    let steps: Map<_, _> = steps
        .into_iter()
        .map(|step| {
            (
                step.name,
                json!({ "status": step.status, "result": step.result }),
            )
        })
        .collect();
    Ok(Json(
        json!({ "id": id, "status": summary.status, "steps": steps }),
    ))
}

/// The response if Tasker's server refuses a request or cannot be reached.
struct Error(ClientError);

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self.0 {
            // The caller's mistake: an unknown order, or one that does not fit the template's `input_schema`.
            ClientError::Problem(problem) if matches!(problem.status, 404 | 422) => {
                let status =
                    StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
                (
                    status,
                    Json(json!({ "error": problem.detail, "errors": problem.errors })),
                )
                    .into_response()
            }
            error => {
                tracing::error!(%error, "Tasker's server did not do what it was asked");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    Json(json!({ "error": "try again later" })),
                )
                    .into_response()
            }
        }
    }
}
