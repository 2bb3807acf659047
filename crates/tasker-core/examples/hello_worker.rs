//! A complete worker with one template and two handlers.
//!
//! Needs the database of a running stack, such as the one of `tasker-cli dev`, which prints its `DATABASE_URL`:
//!
//! ```text
//! DATABASE_URL=postgres://... cargo run --example hello_worker
//! tasker-cli task create --namespace hello --name greeting --input '{"name": "Ada"}' --wait
//! ```

use serde_json::json;
use tasker_core::{HandlerError, HandlerResult, Settings, StepContext, Worker, database, shutdown};

const GREETING: &str = r"
name: greeting
namespace_name: hello
version: 1.0.0
input_schema: { type: object, required: [name], properties: { name: { type: string } } }
steps:
  - name: greet
    handler: { callable: hello.greet }
    retry: { limit: 5, backoff: exponential, backoff_base_ms: 200, max_backoff_ms: 5000 }
  - name: shout
    handler: { callable: hello.shout }
    dependencies: [greet]
";

async fn greet(step: StepContext) -> HandlerResult {
    let input: serde_json::Value = step.input()?;
    let name = input["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(HandlerError::permanent("nobody to greet: the name is empty"));
    }
    Ok(json!(format!("Hello, {name}")))
}

async fn shout(step: StepContext) -> HandlerResult {
    let greeting: String = step.dependency("greet")?;
    Ok(json!(format!("{}!", greeting.to_uppercase())))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::load(None)?; // the defaults, and DATABASE_URL
    settings.worker.port = 0; // a free one, because the stack's worker uses the default
    let pool = database::connect(&settings.database, "hello-worker").await?;
    let worker = Worker::builder(settings.worker, pool)
        .template(GREETING)
        .handler("hello.greet", greet)
        .handler("hello.shout", shout)
        .start()
        .await?;
    println!("The worker is running. Its status: {}/v1/worker/status", worker.url());
    worker.run_until(shutdown::on_signal()?.cancelled_owned()).await;
    Ok(())
}
