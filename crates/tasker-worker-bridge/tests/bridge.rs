//! The bridge against a real PostgreSQL. The host is a thread of the test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::io::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use local_postgres::{LocalPostgres, Options as Postgres};
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tasker_api::{StepState, TaskDetail, TaskState};
use tasker_engine::{Engine, NewTask, Operation};
use tasker_worker_bridge::{Bridge, Event, Options};
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// How long a test waits for something.
const DEADLINE: Duration = Duration::from_secs(20);

/// A database with the schema, and the runtime of the test's own calls.
struct Fixture {
    runtime: Runtime,
    pool: PgPool,
    postgres: LocalPostgres,
}

impl Fixture {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (postgres, pool) = runtime.block_on(async {
            let settings = vec![("fsync".to_owned(), "off".to_owned())];
            let postgres = LocalPostgres::start(Postgres { settings, ..Postgres::default() }).await.unwrap();
            let pool = PgPoolOptions::new().max_connections(2).connect(&postgres.url()).await.unwrap();
            tasker_engine::migrate(&pool).await.unwrap();
            (postgres, pool)
        });
        Self { runtime, pool, postgres }
    }

    /// The options of a worker with the handler `test.work` and a template with these fields of its only step.
    fn options(&self, step: &str) -> (Options, NamedTempFile) {
        let mut file = NamedTempFile::with_suffix(".yaml").unwrap();
        write!(
            file,
            "{{name: example, namespace_name: test, version: 1.0.0, \
             steps: [{{name: work, handler: {{callable: test.work, initialization: {{factor: 3}}}}, {step}}}]}}"
        )
        .unwrap();
        let options = Options {
            callables: vec!["test.work".to_owned()],
            templates: vec![file.path().to_owned()],
            database_url: Some(self.postgres.url()),
            port: Some(0),
            lease_ms: Some(1_000),
            shutdown_timeout_ms: Some(300),
            max_concurrent: Some(1),
            ..Options::default()
        };
        (options, file)
    }

    fn create_task(&self, context: Value) -> Uuid {
        self.runtime.block_on(async {
            let engine = Engine::new(self.pool.clone());
            let stored = engine.find_template("test", "example", None).await.unwrap().unwrap();
            let task = NewTask { latest: false, ..NewTask::new(stored.template_id, context) };
            engine.create_tasks(std::slice::from_ref(&task)).await.unwrap();
            task.task_id
        })
    }

    fn task(&self, task_id: Uuid) -> TaskDetail {
        self.runtime.block_on(Engine::new(self.pool.clone()).get_task(task_id, true)).unwrap().unwrap()
    }

    fn cancel(&self, task_id: Uuid) {
        let engine = Engine::new(self.pool.clone());
        self.runtime.block_on(engine.operate(task_id, &Operation::Cancel, None, None)).unwrap();
    }

    fn wait_for_state(&self, task_id: Uuid, state: TaskState) -> TaskDetail {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let task = self.task(task_id);
            if task.summary.status == state {
                return task;
            }
            assert!(Instant::now() < deadline, "{task:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Returns the next event that is not a log event.
fn next(bridge: &Bridge) -> Event {
    loop {
        for event in bridge.next(1).unwrap().unwrap() {
            if !matches!(event, Event::Log { .. }) {
                return event;
            }
        }
    }
}

fn next_step(bridge: &Bridge) -> (u64, Value) {
    match next(bridge) {
        Event::Step { id, json } => (id, serde_json::from_str(&json).unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_goes_to_the_host_and_its_outcome_comes_back() {
    let fixture = Fixture::new();
    let (options, _file) = fixture.options("timeout_seconds: 60, retry: {limit: 3, backoff_base_ms: 1}");
    let bridge = Bridge::start(options).unwrap();
    let input = json!({"big": 9_007_199_254_740_993_u64, "text": "ü"});
    let task_id = fixture.create_task(input.clone());
    let (id, mut step) = next_step(&bridge);
    let timeout = step["timeout_ms"].take().as_u64().unwrap();
    assert!((50_000..=60_000).contains(&timeout), "{timeout}");
    let expected = json!({
        "task_id": task_id.to_string(), "step": "work", "namespace": "test", "template": "example",
        "template_version": "1.0.0", "callable": "test.work", "key": format!("{task_id}/work"), "attempt": 1,
        "max_attempts": 3, "timeout_ms": null, "input": input, "results": {}, "initialization": {"factor": 3},
    });
    assert_eq!(step, expected);
    assert!(bridge.complete(id, r#"{"error": {"kind": "down", "message": "not yet"}}"#).unwrap());

    let (id, step) = next_step(&bridge);
    assert_eq!((&step["attempt"], &step["key"]), (&json!(2), &expected["key"]));
    assert!(bridge.complete(id, r#"{"result": [18446744073709551615]}"#).unwrap());
    assert!(!bridge.complete(id, r#"{"result": 2}"#).unwrap());
    let task = fixture.wait_for_state(task_id, TaskState::Completed);
    assert_eq!(task.steps[0].result, Some(json!([18_446_744_073_709_551_615_u64])));
    bridge.stop().unwrap();
}

#[test]
fn a_step_that_overruns_is_cancelled_and_keeps_its_slot_until_it_is_completed() {
    let fixture = Fixture::new();
    let (options, _file) = fixture.options("timeout_seconds: 1, retry: {limit: 1}");
    let bridge = Bridge::start(options).unwrap();
    let first = fixture.create_task(json!({}));
    let (first_id, _) = next_step(&bridge);
    assert_eq!(next(&bridge), Event::Cancelled { id: first_id });
    fixture.wait_for_state(first, TaskState::BlockedByFailures);

    fixture.create_task(json!({}));
    // A worker with a free slot would start the step within milliseconds.
    thread::sleep(Duration::from_millis(500));
    bridge.interrupt();
    let events = bridge.next(10).unwrap().unwrap();
    assert!(events.iter().all(|event| matches!(event, Event::Log { .. })), "{events:?}");
    assert!(bridge.complete(first_id, r#"{"result": null}"#).unwrap());
    let (second_id, _) = next_step(&bridge);
    bridge.complete(second_id, r#"{"result": null}"#).unwrap();
    bridge.stop().unwrap();
}

#[test]
fn a_cancelled_task_cancels_its_step() {
    let fixture = Fixture::new();
    let (options, _file) = fixture.options("timeout_seconds: 60");
    let bridge = Bridge::start(options).unwrap();
    let task_id = fixture.create_task(json!({}));
    let (id, _) = next_step(&bridge);
    fixture.cancel(task_id);
    assert_eq!(next(&bridge), Event::Cancelled { id });
    bridge.complete(id, r#"{"result": "too late"}"#).unwrap();
    bridge.stop().unwrap();
    assert_eq!(fixture.task(task_id).steps[0].status, StepState::Cancelled);
}

#[test]
fn a_stop_releases_steps_and_ends_the_events() {
    let fixture = Fixture::new();
    let (options, _file) = fixture.options("timeout_seconds: 60");
    let bridge = Bridge::start(options).unwrap();
    let task_id = fixture.create_task(json!({}));
    let (id, _) = next_step(&bridge);
    let (sender, events) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Some(batch) = bridge.next(1).unwrap() {
                batch.into_iter().for_each(|event| sender.send(event).unwrap());
            }
        });
        bridge.stop().unwrap();
        bridge.stop().unwrap();
    });
    let (logs, others): (Vec<_>, Vec<_>) = events.try_iter().partition(|event| matches!(event, Event::Log { .. }));
    assert_eq!(others, [Event::Stopping, Event::Cancelled { id }]);
    let stopped = logs.iter().any(|event| match event {
        Event::Log { json } => {
            let log: Value = serde_json::from_str(json).unwrap();
            log["level"] == "INFO" && log["message"] == "worker stopped" && log["target"] == "tasker_worker::worker"
        }
        _ => false,
    });
    assert!(stopped, "{logs:?}");
    let task = fixture.task(task_id);
    assert_eq!((task.steps[0].status, task.steps[0].attempts), (StepState::Enqueued, 0));
}

#[test]
fn a_worker_that_cannot_start_says_why() {
    let fixture = Fixture::new();
    let (mut options, _file) = fixture.options("timeout_seconds: 60");
    options.callables.clear();
    let error = Bridge::start(options.clone()).unwrap_err();
    assert!(error.to_string().contains("`test.work` (step work of example)"), "{error}");
    options.max_concurrent = Some(0);
    let error = Bridge::start(options.clone()).unwrap_err();
    assert!(error.to_string().contains("max_concurrent"), "{error}");
    options.log_filter = Some("a=b=c".to_owned());
    options.max_concurrent = None;
    let error = Bridge::start(options).unwrap_err();
    assert!(error.to_string().contains("logging.filter"), "{error}");
}
