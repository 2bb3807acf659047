//! The live stream.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tasker_engine::{NewTask, StepOutcome};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::Stack;

/// A stream that a test reads.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(stack: &Stack, credential: &str, topics: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(stack.server.address).await?;
        let request = format!(
            "GET /v1/events?topics={topics} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {credential}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The next event with this name, and its data.
    async fn next(&mut self, name: &str) -> Result<Value> {
        let read = async {
            let mut is_wanted = false;
            loop {
                let mut line = String::new();
                ensure!(self.0.read_line(&mut line).await? > 0, "the stream has ended");
                let line = line.trim_end();
                if let Some(event) = line.strip_prefix("event: ") {
                    is_wanted = event == name;
                } else if let Some(data) = line.strip_prefix("data: ").filter(|_| is_wanted) {
                    return Ok(serde_json::from_str(data)?);
                }
            }
        };
        timeout(Duration::from_secs(20), read).await.with_context(|| format!("no event {name}"))?
    }
}

#[tokio::test]
async fn a_stream_shows_a_task_and_its_changes() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let task = stack.create("shop", json!({})).await?;
    let mut events = Events::open(&stack, "every-key", &format!("task:{task},row:{task}")).await?;
    let first = events.next("task").await?;
    let steps = |event: &Value| event["steps"].as_array().map_or(0, Vec::len);
    ensure!(steps(&first) == 2 && first["task"]["status"] == "pending", "{first}");
    ensure!(events.next("row").await?["task"]["task_uuid"] == task);

    let claimed = stack.claim("shop").await?;
    let begun = Instant::now();
    let changed = events.next("task").await?;
    ensure!(steps(&changed) == 1 && changed["steps"][0]["status"] == "in_progress", "{changed}");
    ensure!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    stack.record("shop", &claimed, StepOutcome::Completed(json!(1))).await?;
    let changed = events.next("task").await?;
    ensure!(changed["task"]["completed_steps"] == 1 && steps(&changed) == 2, "{changed}");

    // After a reconnection, the first event is complete again.
    drop(events);
    let mut events = Events::open(&stack, "every-key", &format!("task:{task}")).await?;
    ensure!(steps(&events.next("task").await?) == 2);
    stack.stop().await
}

#[tokio::test]
async fn a_stream_shows_new_tasks_statistics_and_what_is_gone() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    stack.store_template("stock").await?;
    let foreign = stack.create("stock", json!({})).await?;
    stack.heartbeat("w1", &["shop"], &["c.a"]).await?;
    let unknown = Uuid::now_v7();
    let topics = format!("new,stats,workers,row:{foreign},task:{unknown},bulk:{unknown}");
    let mut events = Events::open(&stack, "shop-key", &topics).await?;
    // What belongs to others looks like what does not exist.
    let mut gone = Vec::new();
    for _ in 0..3 {
        gone.push(events.next("gone").await?["topic"].as_str().unwrap_or_default().to_owned());
    }
    gone.sort();
    assert_eq!(gone, [format!("bulk:{unknown}"), format!("row:{foreign}"), format!("task:{unknown}")]);

    let mut events = Events::open(&stack, "shop-key", "new,stats,workers").await?;
    ensure!(events.next("stats").await?["count_limit"] == 10_001);
    ensure!(events.next("workers").await?["workers"][0]["worker_id"] == "w1");
    ensure!(events.next("new").await?["count"] == 0);
    let created = stack.create("shop", json!({})).await?;
    stack.create("stock", json!({})).await?;
    let new = events.next("new").await?;
    ensure!(new["count"] == 1 && new["newest"] == created, "{new}");

    for topics in ["", "x", "task:1", "stats:1", "new:stock"] {
        let answer = stack.get_as("shop-key", &format!("/v1/events?topics={topics}")).await?;
        ensure!(answer.status == if topics == "new:stock" { 403 } else { 400 }, "{topics}: {answer:?}");
    }
    stack.stop().await
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams() -> Result<()> {
    let stack = Stack::start().await?;
    let mut events = Events::open(&stack, "every-key", "stats").await?;
    events.next("stats").await?;
    let begun = Instant::now();
    stack.stop().await?;
    ensure!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    ensure!(events.next("never").await.is_err());
    Ok(())
}

#[tokio::test]
async fn the_count_of_new_tasks_ends_and_the_newest_one_still_comes() -> Result<()> {
    let stack = Stack::start().await?;
    stack.store_template("shop").await?;
    let mut events = Events::open(&stack, "every-key", "new:shop").await?;
    ensure!(events.next("new").await?["count"] == 0);
    let template = stack.engine.find_template("shop", "t", None).await?.context("no template")?;
    let task = |_| NewTask::new(template.template_id, json!({}));
    stack.engine.create_tasks(&(0..1_001).map(task).collect::<Vec<_>>()).await?;
    ensure!(events.next("new").await?["count"] == 1_000);
    let created = stack.create("shop", json!({})).await?;
    let new = events.next("new").await?;
    ensure!(new["count"] == 1_000 && new["newest"] == created, "{new}");
    stack.stop().await
}
