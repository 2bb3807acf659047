//! The server counts refused requests, and slows down addresses that keep failing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tasker_runtime::settings::{Access, Scope};
use tokio::task::JoinSet;

use crate::http::{database, send_from};
use crate::server::{Running, key};

/// Failures that the server answers without delay.
const PROMPT: usize = 10;
/// Failures that arrive at once. The last of them are answered after five seconds.
const FAILURES: usize = 20;

#[tokio::test]
async fn repeated_failures_are_counted_and_slowed_down() -> Result<()> {
    let postgres = database().await?;
    let access = Access { keys: vec![key("reader", &[Scope::Read])], ..Access::default() };
    let server = Running::start(&postgres, access).await?;
    let address = server.address;
    let [attacker, other] = [1, 2].map(|last| IpAddr::V4(Ipv4Addr::new(127, 2, 0, last)));
    let send = async move |source: IpAddr, method: &str, path: &str, key: &str| {
        let authorization = format!("Bearer {key}");
        send_from(source, address, method, path, &[("Authorization", &authorization)], "").await
    };

    let mut failures = JoinSet::new();
    for _ in 0..FAILURES {
        failures.spawn(async move { send(attacker, "GET", "/v1/tasks", "guessed-key").await });
    }
    for _ in 0..PROMPT {
        let answer = failures.join_next().await.context("too few requests")???;
        ensure!(answer.status == 401, "{answer:?}");
    }
    // A valid key works at once, and other addresses are not slowed down.
    let answer = send(attacker, "GET", "/v1/tasks", "reader-key").await?;
    ensure!(answer.status == 200, "{answer:?}");
    let answer = send(other, "GET", "/v1/tasks", "guessed-key").await?;
    ensure!(answer.status == 401, "{answer:?}");
    while let Some(answer) = failures.try_join_next() {
        ensure!(answer??.status == 401);
    }
    ensure!(!failures.is_empty(), "no response was delayed");

    let answer = send(other, "POST", "/v1/tasks", "reader-key").await?;
    ensure!(answer.status == 403, "{answer:?}");
    let expected = [
        format!("tasker_requests_refused_total{{reason=\"unauthenticated\"}} {}", FAILURES + 1),
        "tasker_requests_refused_total{reason=\"forbidden\"} 1".to_owned(),
    ];
    let counted = async {
        loop {
            let figures = send(other, "GET", "/metrics", "reader-key").await?.body;
            if expected.iter().all(|line| figures.contains(line)) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.context("the figures are missing")??;
    server.stop().await
}
