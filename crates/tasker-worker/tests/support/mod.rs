//! A database for each test, and helpers.

use std::time::{Duration, Instant};

use local_postgres::{LocalPostgres, Options};
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tasker_api::{StepDetail, TaskDetail, TaskState};

use tasker_engine::{CreateOutcome, Engine, NewTask};
use tasker_runtime::settings;
use tasker_worker::{Worker, WorkerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::sleep;
use uuid::Uuid;

/// How long a test waits for a condition.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The database with the schema. Each test gets a copy.
const PREPARED: &str = "prepared";

pub(crate) async fn start_server() -> LocalPostgres {
    let settings = vec![("fsync".to_owned(), "off".to_owned())];
    LocalPostgres::start(Options { settings, ..Options::default() }).await.unwrap()
}

/// Creates a database with the schema on this server.
pub(crate) async fn prepare(server: &LocalPostgres, name: &str) -> PgPool {
    execute(&server.url(), &format!("create database {name}")).await;
    let pool = connect(&server.database_url(name)).await;
    tasker_engine::migrate(&pool).await.unwrap();
    pool
}

/// Creates a database with the schema on a server that the tests of a process share. The server ends with the process.
pub(crate) async fn database() -> PgPool {
    static SERVER: OnceCell<LocalPostgres> = OnceCell::const_new();
    let server = SERVER
        .get_or_init(async || {
            let server = start_server().await;
            prepare(&server, PREPARED).await.close().await;
            server
        })
        .await;
    let name = format!("test_{}", Uuid::new_v4().simple());
    execute(&server.url(), &format!("create database {name} template {PREPARED}")).await;
    connect(&server.database_url(&name)).await
}

async fn connect(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(6).acquire_timeout(Duration::from_secs(2)).connect(url).await.unwrap()
}

async fn execute(url: &str, statement: &str) {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
    pool.close().await;
}

/// A worker of namespace `test` on a free port. It polls so rarely that only notifications and due messages can wake
/// it.
pub(crate) fn worker(pool: &PgPool) -> WorkerBuilder {
    worker_with(pool, settings())
}

pub(crate) fn worker_with(pool: &PgPool, settings: settings::Worker) -> WorkerBuilder {
    Worker::builder(settings, pool.clone()).namespace("test")
}

pub(crate) fn settings() -> settings::Worker {
    settings::Worker { port: 0, poll_interval_ms: 60_000, ..settings::Worker::default() }
}

/// Stores a template of namespace `test` with these steps (a YAML list), and creates a task from it.
pub(crate) async fn create_task(pool: &PgPool, steps: &str) -> Uuid {
    let engine = Engine::new(pool.clone());
    let name = format!("template_{}", Uuid::new_v4().simple());
    let yaml = format!("name: {name}\nnamespace_name: test\nversion: 1.0.0\nsteps:\n{steps}");
    let parsed = tasker_template::parse(&yaml, None).unwrap();
    engine.apply_template(&parsed.template, "test").await.unwrap();
    let stored = engine.find_template("test", &name, None).await.unwrap().unwrap();
    let task = NewTask { latest: false, ..NewTask::new(stored.template_id, json!({"number": 7})) };
    let outcomes = engine.create_tasks(std::slice::from_ref(&task)).await.unwrap();
    assert!(matches!(outcomes[..], [CreateOutcome::Created(_)]), "{outcomes:?}");
    task.task_id
}

pub(crate) async fn get_task(pool: &PgPool, task_id: Uuid) -> TaskDetail {
    Engine::new(pool.clone()).get_task(task_id, true).await.unwrap().unwrap()
}

/// Waits until the task is in this state, and returns it.
pub(crate) async fn task_in(pool: &PgPool, task_id: Uuid, state: TaskState) -> TaskDetail {
    wait_for(&format!("task to be {state}"), async || {
        let task = get_task(pool, task_id).await;
        (task.summary.status == state).then_some(task)
    })
    .await
}

/// Waits until there is a value, and returns it.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: nothing within {DEADLINE:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn step<'a>(task: &'a TaskDetail, name: &str) -> &'a StepDetail {
    task.steps.iter().find(|step| step.name == name).unwrap()
}

/// The kind and the message of a step's error.
pub(crate) fn error_of(task: &TaskDetail, name: &str) -> (String, String) {
    let error = step(task, name).error.as_ref().unwrap();
    let text = |key: &str| error[key].as_str().unwrap().to_owned();
    (text("kind"), text("message"))
}

/// Sends a request to a worker's status API. Returns the status code, the content type and the body.
pub(crate) async fn request(worker: &Worker, method: &str, path: &str) -> (u16, String, String) {
    request_to("localhost", worker, method, path).await
}

/// Sends a request for this host to a worker's status API.
pub(crate) async fn request_to(host: &str, worker: &Worker, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(worker.address()).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default().to_owned();
    (code, content_type, body.to_owned())
}

pub(crate) async fn get_json(worker: &Worker, path: &str) -> (u16, Value) {
    let (code, _, body) = request(worker, "GET", path).await;
    (code, serde_json::from_str(&body).unwrap())
}
