//! Sends orders to the API on a real stack: `tasker-cli dev` runs a private PostgreSQL and Tasker's server.

use std::process::{Child, Command, Stdio};

use anyhow::Context;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tasker_core::{OrchestrationClient, Settings, Worker, database};
use tower::ServiceExt;

use crate::steps::{Order, total_cents};
use crate::{api, steps};

/// What runs as long as a test.
struct Stack {
    api: Router,
    _worker: Worker,
    _tasker: Tasker,
}

/// PostgreSQL stops and its data is removed, however this process ends.
struct Tasker(Child);

impl Drop for Tasker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `tasker-cli dev --json` prints once everything runs.
#[derive(Deserialize)]
struct Addresses {
    orchestration_url: String,
    database_url: String,
}

impl Stack {
    async fn start() -> anyhow::Result<Self> {
        let mut command = Command::new("tasker-cli");
        command.args(["dev", "--temporary", "--no-worker", "--port", "0", "--json"]);
        // With a database in DATABASE_URL, it would use that one.
        command.env_remove("DATABASE_URL").stdout(Stdio::piped());
        let mut tasker = Tasker(
            command
                .spawn()
                .context("cannot run tasker-cli: is it installed?")?,
        );
        let output = tasker.0.stdout.take().context("no output")?;
        let addresses = serde_json::Deserializer::from_reader(output)
            .into_iter()
            .next();
        let addresses: Addresses =
            addresses.context("tasker-cli dev has failed; its error is above")??;

        let mut settings = Settings::default();
        settings.database.url = addresses.database_url;
        settings.worker.port = 0; // a free one
        let pool = database::connect(&settings.database, "test").await?;
        let worker = steps::add_to(Worker::builder(settings.worker, pool))
            .start()
            .await?;
        let api = api::router(OrchestrationClient::new(&addresses.orchestration_url)?);
        Ok(Self {
            api,
            _worker: worker,
            _tasker: tasker,
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
