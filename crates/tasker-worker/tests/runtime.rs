//! The worker runtime against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicUsize, Ordering};
use std::time::Duration;

use local_postgres::StopMode;
use serde_json::json;
use support::*;
use tasker_api::{StepState, TaskState, WorkerState};
use tasker_engine::{Engine, Operation, OperationOutcome};
use tasker_worker::{HandlerError, StartError, StepContext, Worker};
use tokio::sync::Semaphore;
use tokio::time::sleep;

#[tokio::test]
async fn completing_a_step_starts_the_next_one() {
    let pool = database().await;
    let worker = worker(&pool)
        .handler("test.first", |step: StepContext| async move {
            #[derive(serde::Deserialize)]
            struct Input {
                number: u64,
            }
            Ok(json!(step.input::<Input>()?.number + step.initialization::<Input>()?.number))
        })
        .handler("test.double", |step: StepContext| async move {
            let before = if step.step_name() == "second" { "first" } else { "second" };
            Ok(json!(step.dependency::<u64>(before)? * 2))
        })
        .start()
        .await
        .unwrap();
    let task_id = create_task(
        &pool,
        "- {name: first, handler: {callable: test.first, initialization: {number: 3}}}\n\
         - {name: second, handler: {callable: test.double}, dependencies: [first]}\n\
         - {name: third, handler: {callable: test.double}, dependencies: [second]}",
    )
    .await;

    let task = task_in(&pool, task_id, TaskState::Completed).await;
    let results: Vec<_> = task.steps.iter().map(|step| step.result.clone().unwrap()).collect();
    assert_eq!(results, [json!(10), json!(20), json!(40)]);
    assert_eq!(task.steps[2].worker_id.as_deref(), Some(worker.worker_id()));
    // The transaction that completes a step also starts the next one.
    let history = Engine::new(pool.clone()).list_transitions(task_id, None, 0, None).await.unwrap();
    let at = |step: &str, state: &str| {
        history.iter().find(|entry| entry.step.as_deref() == Some(step) && entry.to == state).unwrap().at
    };
    assert_eq!(at("first", "completed"), at("second", "in_progress"));
    assert_eq!(at("second", "completed"), at("third", "in_progress"));
    worker.stop().await;
}

#[tokio::test]
async fn parallel_steps_share_the_slots() {
    let pool = database().await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&now), Arc::clone(&most));
    let worker = worker_with(&pool, tasker_runtime::settings::Worker { max_concurrent: 3, ..settings() })
        .handler("test.first", |_| async { Ok(json!(null)) })
        .handler("test.work", move |_| {
            let (now, most) = (Arc::clone(&counted), Arc::clone(&peak));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The first handlers wait until all slots are taken.
                while most.load(Ordering::SeqCst) < 3 {
                    sleep(Duration::from_millis(1)).await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(json!(null))
            }
        })
        .start()
        .await
        .unwrap();
    let mut steps = "- {name: first, handler: {callable: test.first}}\n".to_owned();
    for number in 0..20 {
        steps += &format!("- {{name: step_{number}, handler: {{callable: test.work}}, dependencies: [first]}}\n");
    }
    let task_id = create_task(&pool, &steps).await;
    task_in(&pool, task_id, TaskState::Completed).await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    // The worker learns a moment after the commit that its steps are recorded.
    wait_for("the slots", async || {
        let (_, status) = get_json(&worker, "/v1/worker/status").await;
        (status["completed_steps"] == json!(21) && status["running_steps"] == json!(0)).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_retry_starts_when_its_backoff_is_over() {
    let pool = database().await;
    let worker = worker(&pool)
        .handler("test.flaky", |step: StepContext| async move {
            match step.attempt() {
                1 => Err(HandlerError::retryable("not yet").with_kind("impatient")),
                // `?` turns another error into a retryable one.
                2 => Ok(json!("none".parse::<u64>()?)),
                attempt => Ok(json!(attempt)),
            }
        })
        .start()
        .await
        .unwrap();
    let task_id = create_task(
        &pool,
        "- {name: flaky, handler: {callable: test.flaky},\n   \
           retry: {limit: 3, backoff: linear, backoff_base_ms: 200}}",
    )
    .await;
    // Polling would take a minute.
    let task = task_in(&pool, task_id, TaskState::Completed).await;
    assert_eq!(task.steps[0].result, Some(json!(3)));
    let history = Engine::new(pool.clone()).list_transitions(task_id, None, 0, None).await.unwrap();
    let starts: Vec<_> = history.iter().filter(|entry| entry.step.is_some() && entry.to == "in_progress").collect();
    let failures: Vec<_> = history.iter().filter(|entry| entry.to == "waiting_for_retry").collect();
    assert_eq!(failures[0].reason.as_deref(), Some("not yet"));
    assert_eq!(failures[1].reason.as_deref(), Some("invalid digit found in string"));
    for (failure, start, base) in [(0, 1, 200), (1, 2, 400)] {
        let delay = (starts[start].at - failures[failure].at).num_milliseconds();
        assert!((base * 3 / 4..base + 1_000).contains(&delay), "{delay} ms");
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_idle_worker_does_not_claim() {
    let pool = database().await;
    let settings = tasker_runtime::settings::Worker { poll_interval_ms: 500, ..settings() };
    let worker = worker_with(&pool, settings).start().await.unwrap();
    // An idle worker needs no claims but the first ones: at the start, and when it begins to listen.
    sleep(Duration::from_secs(2)).await;
    let (_, _, metrics) = request(&worker, "GET", "/metrics").await;
    let claims = metrics.lines().find_map(|line| line.strip_prefix("tasker_worker_claim_seconds_count ")).unwrap();
    assert!(claims.parse::<u32>().unwrap() <= 3, "{claims} claims");
    worker.stop().await;
}

#[tokio::test]
async fn every_kind_of_failure_has_its_own_error() {
    let pool = database().await;
    let worker = worker(&pool)
        .handler("test.permanent", |_| async { Err(HandlerError::permanent("never").with_kind("declined")) })
        .handler("test.slow", |step: StepContext| async move {
            step.cancelled().await;
            std::future::pending().await
        })
        .handler("test.panic", |_| async { panic!("nobody {}", "expected this") })
        .handler("test.nul", |_| async { Ok(json!("a\0b")) })
        .start()
        .await
        .unwrap();
    let task_id = create_task(
        &pool,
        "- {name: permanent, handler: {callable: test.permanent}}\n\
         - {name: slow, handler: {callable: test.slow}, timeout_seconds: 1, retry: {limit: 1}}\n\
         - {name: panic, handler: {callable: test.panic}, retry: {retryable: false}}\n\
         - {name: nul, handler: {callable: test.nul}}\n\
         - {name: unknown, handler: {callable: test.unknown}, retry: {limit: 1}}",
    )
    .await;
    let task = task_in(&pool, task_id, TaskState::BlockedByFailures).await;
    let expected = [
        ("permanent", "declined", "never"),
        ("slow", "timeout", "the attempt exceeded the step's timeout_seconds of 1 s"),
        ("panic", "panic", "nobody expected this"),
        ("nul", "bad_result", "the result contains the character U+0000, which PostgreSQL cannot store"),
        (
            "unknown",
            "no_handler",
            "this worker has no handler `test.unknown`; it has: test.nul, test.panic, test.permanent, test.slow",
        ),
    ];
    for (name, kind, message) in expected {
        assert_eq!(error_of(&task, name), (kind.to_owned(), message.to_owned()));
        assert_eq!(step(&task, name).attempts, 1);
    }
    worker.stop().await;
}

#[tokio::test]
async fn one_bad_result_does_not_affect_the_rest_of_its_batch() {
    let pool = database().await;
    sqlx::raw_sql("alter table tasker.steps add constraint no_poison check (result is distinct from '\"poison\"')")
        .execute(&pool)
        .await
        .unwrap();
    let worker = worker(&pool)
        .handler("test.poison", |_| async { Ok(json!("poison")) })
        .handler("test.good", |_| async { Ok(json!("good")) })
        .start()
        .await
        .unwrap();
    let task_id = create_task(
        &pool,
        "- {name: one, handler: {callable: test.good}}\n\
         - {name: two, handler: {callable: test.poison}}\n\
         - {name: three, handler: {callable: test.good}}",
    )
    .await;
    let task = task_in(&pool, task_id, TaskState::BlockedByFailures).await;
    assert_eq!(task.summary.completed_steps, 2);
    let (kind, message) = error_of(&task, "two");
    assert_eq!(kind, "bad_result");
    assert!(message.contains("no_poison"), "{message}");
    worker.stop().await;
}

#[tokio::test]
async fn a_lost_lease_cancels_the_attempt() {
    let pool = database().await;
    let started = Arc::new(AtomicBool::new(false));
    let cancelled = Arc::new(AtomicBool::new(false));
    let (is_started, is_cancelled) = (Arc::clone(&started), Arc::clone(&cancelled));
    let worker = worker_with(&pool, tasker_runtime::settings::Worker { lease_ms: 1_000, ..settings() })
        .handler("test.wait", move |step: StepContext| {
            let (started, cancelled) = (Arc::clone(&is_started), Arc::clone(&is_cancelled));
            async move {
                started.store(true, Ordering::SeqCst);
                step.cancelled().await;
                cancelled.store(step.is_cancelled(), Ordering::SeqCst);
                Ok(json!("too late"))
            }
        })
        .start()
        .await
        .unwrap();
    let task_id = create_task(&pool, "- {name: wait, handler: {callable: test.wait}}").await;
    wait_for("the handler", async || started.load(Ordering::SeqCst).then_some(())).await;
    let engine = Engine::new(pool.clone());
    // The lease is extended beyond its first end.
    wait_for("the lease to be extended", async || {
        let query = "select due_at > started_at + interval '1.5 s' from tasker.steps where task_id = $1";
        sqlx::query_scalar::<_, bool>(query).bind(task_id).fetch_one(&pool).await.unwrap().then_some(())
    })
    .await;
    assert!(!cancelled.load(Ordering::SeqCst));

    assert_eq!(engine.operate(task_id, &Operation::Cancel, None, None).await.unwrap(), OperationOutcome::Done);
    wait_for("the cancellation", async || cancelled.load(Ordering::SeqCst).then_some(())).await;
    wait_for("the slot", async || {
        let (_, status) = get_json(&worker, "/v1/worker/status").await;
        (status["running_steps"] == json!(0)).then_some(())
    })
    .await;
    assert_eq!(get_task(&pool, task_id).await.steps[0].status, StepState::Cancelled);
    worker.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_short_steps_finish_and_releases_long_ones() {
    let pool = database().await;
    let started = Arc::new(Semaphore::new(0));
    let signal = Arc::clone(&started);
    let first = worker_with(&pool, tasker_runtime::settings::Worker { shutdown_timeout_ms: 500, ..settings() })
        .handler("test.short", {
            let signal = Arc::clone(&signal);
            move |_| {
                signal.add_permits(1);
                async {
                    sleep(Duration::from_millis(100)).await;
                    Ok(json!("first"))
                }
            }
        })
        .handler("test.long", move |_| {
            signal.add_permits(1);
            std::future::pending()
        })
        .start()
        .await
        .unwrap();
    let task_id = create_task(
        &pool,
        "- {name: short, handler: {callable: test.short}}\n\
         - {name: long, handler: {callable: test.long}}\n\
         - {name: next, handler: {callable: test.long}, dependencies: [short]}",
    )
    .await;
    let _both = started.acquire_many(2).await.unwrap();
    let first_id = first.worker_id().to_owned();
    first.stop().await;

    let task = get_task(&pool, task_id).await;
    assert_eq!(step(&task, "short").result, Some(json!("first")));
    for name in ["long", "next"] {
        assert_eq!((step(&task, name).status, step(&task, name).attempts), (StepState::Enqueued, 0), "{name}");
    }
    let workers = Engine::new(pool.clone()).list_workers(Some("test"), None, None).await.unwrap();
    assert_eq!((workers[0].worker_id.as_str(), workers[0].status), (first_id.as_str(), WorkerState::Stopped));

    let second = worker(&pool).handler("test.long", |_| async { Ok(json!("second")) }).start().await.unwrap();
    let task = task_in(&pool, task_id, TaskState::Completed).await;
    assert_eq!((step(&task, "long").result.clone(), step(&task, "long").attempts), (Some(json!("second")), 1));
    second.stop().await;
}

#[tokio::test]
async fn a_dead_worker_loses_nothing() {
    let pool = database().await;
    let attempts = Arc::new(AtomicI16::new(0));
    let seen = Arc::clone(&attempts);
    let short_lease = tasker_runtime::settings::Worker { lease_ms: 1_000, ..settings() };
    let first = worker_with(&pool, short_lease.clone())
        .handler("test.work", move |step: StepContext| {
            seen.store(step.attempt(), Ordering::SeqCst);
            std::future::pending()
        })
        .start()
        .await
        .unwrap();
    let task_id = create_task(&pool, "- {name: work, handler: {callable: test.work}}").await;
    wait_for("the first attempt", async || (attempts.load(Ordering::SeqCst) == 1).then_some(())).await;
    drop(first);

    let second = worker_with(&pool, short_lease)
        .handler("test.work", |step: StepContext| async move { Ok(json!(step.attempt())) })
        .start()
        .await
        .unwrap();
    let task = task_in(&pool, task_id, TaskState::Completed).await;
    assert_eq!(task.steps[0].result, Some(json!(2)));
    second.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_database_loses_nothing() {
    let mut server = start_server().await;
    let pool = prepare(&server, "outage").await;
    let gate = Arc::new(Semaphore::new(0));
    let started = Arc::new(AtomicUsize::new(0));
    let (open, counted) = (Arc::clone(&gate), Arc::clone(&started));
    let worker = worker(&pool)
        .handler("test.gated", move |_| {
            let gate = Arc::clone(&open);
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                let _pass = gate.acquire().await?;
                Ok(json!("passed"))
            }
        })
        .start()
        .await
        .unwrap();
    let steps = "- {name: one, handler: {callable: test.gated}}\n\
                 - {name: two, handler: {callable: test.gated}, dependencies: [one]}";
    let before = create_task(&pool, steps).await;
    wait_for("the first step", async || (started.load(Ordering::SeqCst) == 1).then_some(())).await;

    server.interrupt(StopMode::Immediate).await.unwrap();
    gate.add_permits(1);
    let (code, health) = get_json(&worker, "/health").await;
    assert_eq!((code, &health["status"]), (503, &json!("unhealthy")));
    assert_eq!(get_json(&worker, "/health/live").await.0, 200);
    wait_for("the result to be refused", async || {
        let (_, _, metrics) = request(&worker, "GET", "/metrics").await;
        metrics.contains("tasker_worker_database_errors_total{call=\"record\"}").then_some(())
    })
    .await;
    server.resume().await.unwrap();

    let task = task_in(&pool, before, TaskState::Completed).await;
    assert_eq!(task.steps.iter().map(|step| step.attempts).collect::<Vec<_>>(), [1, 1]);
    let after = create_task(&pool, steps).await;
    task_in(&pool, after, TaskState::Completed).await;
    assert_eq!(get_json(&worker, "/health").await.0, 200);
    worker.stop().await;
    server.stop(StopMode::Fast).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_even_if_the_database_is_unavailable() {
    let server = start_server().await;
    let pool = prepare(&server, "away").await;
    let started = Arc::new(Semaphore::new(0));
    let signal = Arc::clone(&started);
    let worker = worker_with(&pool, tasker_runtime::settings::Worker { shutdown_timeout_ms: 200, ..settings() })
        .handler("test.long", move |_| {
            signal.add_permits(1);
            std::future::pending()
        })
        .start()
        .await
        .unwrap();
    create_task(&pool, "- {name: long, handler: {callable: test.long}}").await;
    let _running = started.acquire().await.unwrap();
    server.stop(StopMode::Immediate).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), worker.stop()).await.unwrap();
}

#[tokio::test]
async fn the_status_api_reports_health_status_and_metrics() {
    let pool = database().await;
    let worker = worker(&pool).handler("test.work", |_| async { Ok(json!(null)) }).start().await.unwrap();
    let (code, health) = get_json(&worker, "/health/ready").await;
    assert_eq!(code, 200);
    let healthy = json!({"status": "healthy"});
    assert_eq!(health, json!({"status": "healthy", "checks": {"database": healthy, "worker": healthy}}));

    let (_, status) = get_json(&worker, "/v1/worker/status").await;
    assert_eq!(status["worker_id"], json!(worker.worker_id()));
    assert_eq!(status["namespaces"], json!(["test"]));
    assert_eq!(status["handlers"], json!(["test.work"]));
    assert_eq!(status["status"], json!("running"));

    let (code, content_type, body) = request(&worker, "GET", "/metrics").await;
    assert_eq!((code, content_type.as_str()), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(body.contains("\ntasker_worker_running_steps 0\n") && body.ends_with("# EOF\n"), "{body}");

    for (method, path, expected) in [("GET", "/nowhere", 404), ("POST", "/health", 405)] {
        let (code, content_type, body) = request(&worker, method, path).await;
        assert_eq!((code, content_type.as_str()), (expected, "application/problem+json"));
        assert!(body.contains(path), "{body}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_cannot_start_says_why() {
    let pool = database().await;
    let noop = |_: StepContext| async { Ok(json!(null)) };
    let template = |version: &str, callable: &str| {
        format!(
            "{{name: same, namespace_name: test, version: {version}, \
             steps: [{{name: a, handler: {{callable: {callable}}}}}]}}"
        )
    };
    let none = Worker::builder(settings(), pool.clone()).start().await.unwrap_err();
    assert!(matches!(none, StartError::NoNamespace), "{none}");
    let twice = worker(&pool).handler("test.a", noop).handler("test.a", noop).start().await.unwrap_err();
    assert_eq!(twice.to_string(), "two handlers are registered as `test.a`");
    let bad = worker(&pool).template(template("one", "a")).start().await.unwrap_err();
    assert!(bad.to_string().starts_with("a task template of this worker is invalid:\nline 1"), "{bad}");

    let first = worker(&pool).template(template("1.0.0", "test.a")).start().await.unwrap();
    let conflict = worker(&pool).template(template("1.0.0", "test.b")).start().await.unwrap_err();
    assert!(
        conflict.to_string().starts_with("template test/same 1.0.0 is already stored with different content"),
        "{conflict}"
    );
    let port = first.address().port();
    let bound = worker_with(&pool, tasker_runtime::settings::Worker { port, ..settings() }).start().await.unwrap_err();
    assert!(bound.to_string().starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{bound}");
    first.stop().await;
}
