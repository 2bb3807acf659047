//! Runs orders on a real stack: a private PostgreSQL, Tasker's server, the worker and the API. It needs PostgreSQL's
//! programs on the machine, and downloads them otherwise.

use anyhow::Context;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use local_postgres::{LocalPostgres, Options};
use serde_json::{Value, json};
use tasker_core::{OrchestrationClient, Settings, Worker, database, engine, shutdown};
use tasker_orchestration::Server;
use tower::ServiceExt;

use crate::steps::{Order, total_cents};
use crate::{api, steps};

/// What runs as long as a test.
struct Stack {
    api: Router,
    _worker: Worker,
    _postgres: LocalPostgres,
}

impl Stack {
    async fn start() -> anyhow::Result<Self> {
        let postgres = LocalPostgres::start(Options::default()).await?;
        let mut settings = Settings::default();
        settings.database.url = postgres.url();
        // Free ports.
        settings.orchestration.port = 0;
        settings.worker.port = 0;
        let pool = database::connect(&settings.database, "test").await?;
        engine::migrate(&pool).await?;

        let server = Server::bind(&settings).await?;
        let tasker = OrchestrationClient::new(&format!("http://{}", server.address()))?;
        tokio::spawn(server.run(shutdown::on_signal()?));
        let worker = steps::add_to(Worker::builder(settings.worker, pool))
            .start()
            .await?;
        Ok(Self {
            api: api::router(tasker),
            _worker: worker,
            _postgres: postgres,
        })
    }

    async fn send(&self, request: Request<Body>) -> anyhow::Result<(StatusCode, Value)> {
        let response = self.api.clone().oneshot(request).await?;
        let status = response.status();
        let body = to_bytes(response.into_body(), 1024 * 1024).await?;
        Ok((
            status,
            serde_json::from_slice(&body).context("the response is not JSON")?,
        ))
    }

    async fn order(&self, order: Value) -> anyhow::Result<(StatusCode, Value)> {
        let request =
            Request::post("/orders?wait=30").header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(order.to_string().into())?).await
    }
}

#[test]
fn totals() {
    assert_eq!(
        total_cents(&Order {
            item: "tea".to_owned(),
            quantity: 3
        }),
        Some(1_350)
    );
    assert_eq!(
        total_cents(&Order {
            item: "gold".to_owned(),
            quantity: 1
        }),
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_charged_and_shipped() -> anyhow::Result<()> {
    let stack = Stack::start().await?;
    let (status, order) = stack.order(json!({ "item": "tea", "quantity": 3 })).await?;
    assert_eq!(
        (status, &order["status"]),
        (StatusCode::CREATED, &json!("completed")),
        "{order}"
    );
    assert_eq!(
        order["steps"]["charge"]["result"]["amount_cents"], 1_350,
        "{order}"
    );
    assert!(
        order["steps"]["ship"]["result"]["tracking_number"].is_string(),
        "{order}"
    );

    let id = order["id"].as_str().context("the order has no id")?;
    let shown = stack
        .send(Request::get(format!("/orders/{id}")).body(Body::empty())?)
        .await?;
    assert_eq!(shown, (StatusCode::OK, order));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_orders_are_refused_or_wait_for_an_operator() -> anyhow::Result<()> {
    let stack = Stack::start().await?;
    let (status, body) = stack.order(json!({ "item": "tea", "quantity": 0 })).await?;
    assert_eq!(
        (status, &body["errors"][0]["pointer"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("/quantity")),
        "{body}"
    );

    // Nothing is charged. `tasker-cli task list --status blocked_by_failures` shows such tasks.
    let (status, order) = stack
        .order(json!({ "item": "gold", "quantity": 1 }))
        .await?;
    assert_eq!(
        (status, &order["status"]),
        (StatusCode::CREATED, &json!("blocked_by_failures")),
        "{order}"
    );
    assert_eq!(order["steps"]["charge"]["status"], "pending", "{order}");
    Ok(())
}
