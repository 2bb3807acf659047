//! The clients against real HTTP servers whose responses the tests determine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Response, header::AUTHORIZATION, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tasker_api::{CreateTask, HealthStatus, ListTasks, OperatorAction, ResolveStep, TaskState};
use tasker_client::{ClientError, OrchestrationApiClient, OrchestrationClient, WorkerApiClient, WorkerClient};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A request that a server received.
#[derive(Debug)]
struct Seen {
    /// Method and path with query.
    line: String,
    content_type: Option<String>,
    authorization: Option<String>,
    body: Bytes,
}

/// A server whose responses come from a function. It stops with the test.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// `answer` receives the number of the request, from 0.
    async fn start(answer: impl Fn(usize, Seen) -> Response<Body> + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let app = Router::new().fallback(move |request: Request| async move {
            let (head, body) = request.into_parts();
            let seen = Seen {
                line: format!("{} {}", head.method, head.uri),
                content_type: head.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned()),
                authorization: head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()),
                body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
            };
            answer(counter.fetch_add(1, Ordering::SeqCst), seen)
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, asked, task }
    }

    fn client(&self) -> OrchestrationClient {
        OrchestrationClient::new(&self.url).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(status: u16, content_type: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header(CONTENT_TYPE, content_type).body(body.into()).unwrap()
}

fn ok(body: &Value) -> Response<Body> {
    answer(200, "application/json", body.to_string())
}

fn task(status: &str) -> Value {
    json!({
        "task_uuid": Uuid::nil(), "namespace": "n", "name": "t", "version": "1.0.0", "status": status,
        "completion_percentage": 0, "total_steps": 1, "completed_steps": 0, "failed_steps": 0, "priority": 0,
        "created_at": "2030-01-01T00:00:00Z", "started_at": null, "completed_at": null,
        "context": {}, "steps": [], "a_field_of_a_newer_server": 1,
    })
}

fn create(key: Option<&str>) -> CreateTask {
    CreateTask {
        namespace: "n".to_owned(),
        name: "t".to_owned(),
        version: None,
        context: serde_json::Map::new(),
        idempotency_key: key.map(str::to_owned),
        priority: None,
        tags: None,
    }
}

/// An address at which nothing listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn every_call_has_its_method_path_and_body() {
    let server = Server::start(|n, seen| {
        let expected: [(&str, Value); 13] = [
            ("POST /v1/tasks", json!({"namespace": "n", "name": "t", "context": {}})),
            ("GET /v1/tasks/00000000-0000-0000-0000-000000000000", Value::Null),
            ("GET /v1/tasks/00000000-0000-0000-0000-000000000000?wait=5s", Value::Null),
            ("GET /v1/tasks/00000000-0000-0000-0000-000000000000?wait=1500ms", Value::Null),
            ("POST /v1/tasks/00000000-0000-0000-0000-000000000000/cancel", json!({"reason": "late"})),
            ("POST /v1/tasks/00000000-0000-0000-0000-000000000000/fail", json!({})),
            ("POST /v1/tasks/00000000-0000-0000-0000-000000000000/retry", json!({})),
            ("POST /v1/tasks/00000000-0000-0000-0000-000000000000/steps/a%20b%2Fc/retry", json!({})),
            ("POST /v1/tasks/00000000-0000-0000-0000-000000000000/steps/s/resolve", json!({"result": [1]})),
            ("GET /v1/tasks?namespace=a%26b&limit=2", Value::Null),
            ("GET /v1/templates/n/t?version=1.0.0", Value::Null),
            ("GET /v1/workers", Value::Null),
            ("GET /v1/workers?namespace=n", Value::Null),
        ];
        assert_eq!(seen.line, expected[n].0);
        let body = if seen.body.is_empty() { Value::Null } else { serde_json::from_slice(&seen.body).unwrap() };
        assert_eq!(body, expected[n].1);
        match n {
            9 => ok(&json!({"tasks": [task("pending")], "next_cursor": "c"})),
            10 => ok(&json!({"namespace": "n", "name": "t", "version": "1.0.0", "description": null, "total_steps": 1,
                "created_at": "2030-01-01T00:00:00Z", "definition": {"name": "t"}})),
            11.. => ok(&json!({"workers": []})),
            _ => ok(&task("pending")),
        }
    })
    .await;
    let (client, id, nothing) = (server.client(), Uuid::nil(), OperatorAction::default());
    client.create_task(&create(None)).await.unwrap();
    client.get_task(id).await.unwrap();
    client.get_task_at_rest(id, Duration::from_secs(5)).await.unwrap();
    client.get_task_at_rest(id, Duration::from_millis(1500)).await.unwrap();
    let late = OperatorAction { actor: None, reason: Some("late".to_owned()) };
    client.cancel_task(id, &late).await.unwrap();
    client.fail_task(id, &nothing).await.unwrap();
    client.retry_task(id, &nothing).await.unwrap();
    client.retry_step(id, "a b/c", &nothing).await.unwrap();
    client.resolve_step(id, "s", &ResolveStep { result: json!([1]), actor: None, reason: None }).await.unwrap();
    let filter = ListTasks { namespace: Some("a&b".to_owned()), limit: Some(2), ..ListTasks::default() };
    let page = client.list_tasks(&filter).await.unwrap();
    assert_eq!(page.next_cursor.as_deref(), Some("c"));
    let template = client.get_template("n", "t", Some("1.0.0")).await.unwrap();
    assert_eq!(template.definition, json!({"name": "t"}));
    client.list_workers(None).await.unwrap();
    client.list_workers(Some("n")).await.unwrap();
    assert_eq!(server.asked(), 13);
}

#[tokio::test]
async fn a_template_is_sent_unchanged() {
    let server = Server::start(|_, seen| {
        assert_eq!(seen.line, "POST /prefix/v1/templates");
        assert_eq!(seen.content_type.as_deref(), Some("application/yaml"));
        assert_eq!(seen.body, "name: t # é\n");
        ok(&json!({"namespace": "n", "name": "t", "version": "1.0.0", "outcome": "created", "warnings": []}))
    })
    .await;
    let client = OrchestrationClient::new(&format!("{}/prefix/", server.url)).unwrap();
    assert_eq!(client.apply_template("name: t # é\n").await.unwrap().name, "t");
}

#[tokio::test]
async fn reads_are_repeated_while_the_server_is_unavailable() {
    for status in [502, 503, 504] {
        let server =
            Server::start(move |n, _| if n < 2 { answer(status, "text/html", "away") } else { ok(&task("pending")) })
                .await;
        assert_eq!(server.client().get_task(Uuid::nil()).await.unwrap().summary.status, TaskState::Pending);
        assert_eq!(server.asked(), 3);
    }
}

#[tokio::test]
async fn the_last_response_is_returned_when_all_attempts_fail() {
    let server = Server::start(|_, _| answer(503, "text/html", "<html>\n  away</html>")).await;
    let error = server.client().system_info().await.unwrap_err();
    assert!(matches!(error, ClientError::UnexpectedResponse { status: 503, .. }), "{error:?}");
    let expected =
        format!("{}/v1/system/info responded with 503, but not as Tasker does: <html> away</html>", server.url);
    assert_eq!(error.to_string(), expected);
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn only_a_creation_with_an_idempotency_key_is_repeated() {
    let server = Server::start(|n, _| if n == 0 { answer(503, "text/plain", "") } else { ok(&task("pending")) }).await;
    server.client().create_task(&create(Some("key"))).await.unwrap();
    assert_eq!(server.asked(), 2);

    let server = Server::start(|_, _| answer(503, "text/plain", "")).await;
    server.client().create_task(&create(None)).await.unwrap_err();
    server.client().cancel_task(Uuid::nil(), &OperatorAction::default()).await.unwrap_err();
    server.client().apply_template("").await.unwrap_err();
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn other_failures_are_not_repeated() {
    for status in [400, 404, 500] {
        let server = Server::start(move |_, _| answer(status, "text/plain", "no")).await;
        server.client().get_task(Uuid::nil()).await.unwrap_err();
        assert_eq!(server.asked(), 1);
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_the_reason() {
    let url = nowhere().await;
    let error = OrchestrationClient::new(&url).unwrap().system_info().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(
        error.to_string().starts_with(&format!("cannot reach {url}/v1/system/info: Connection refused")),
        "{error}"
    );
}

#[tokio::test]
async fn an_incomplete_response_is_requested_again() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = OrchestrationClient::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = async {
        for complete in [false, true] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let body = task("completed").to_string();
            let length = body.len() + if complete { 0 } else { 10 };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    };
    let (task, ()) = tokio::join!(client.get_task(Uuid::nil()), server);
    assert_eq!(task.unwrap().summary.status, TaskState::Completed);
}

#[tokio::test]
async fn a_missing_response_is_a_timeout_and_not_requested_again() {
    // Accepts connections and never responds.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = OrchestrationClient::new(&url).unwrap().with_timeout(Duration::from_millis(200));
    let start = Instant::now();
    let error = client.system_info().await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{url}/v1/system/info did not respond within 0.2 s"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_problem_document_becomes_a_typed_error() {
    let server = Server::start(|_, _| {
        let problem = json!({
            "type": "/problems/invalid-context", "title": "Invalid context", "status": 422,
            "detail": "the context fails the template's input_schema",
            "errors": [{"pointer": "/even_number", "message": "3 is odd"}],
        });
        answer(422, "application/problem+json; charset=utf-8", problem.to_string())
    })
    .await;
    let error = server.client().create_task(&create(None)).await.unwrap_err();
    assert_eq!(error.to_string(), "the context fails the template's input_schema\n  /even_number: 3 is odd");
    let ClientError::Problem(problem) = error else { panic!("{error:?}") };
    assert_eq!((problem.status, problem.kind.as_str()), (422, "/problems/invalid-context"));
}

#[tokio::test]
async fn a_response_of_another_program_is_an_error() {
    let server = Server::start(|_, _| answer(200, "text/html", "x".repeat(1000))).await;
    let error = server.client().system_info().await.unwrap_err().to_string();
    assert!(error.contains("responded with 200, but not as Tasker does: "), "{error}");
    assert!(error.len() < 500, "{error}");
}

#[tokio::test]
async fn waiting_continues_until_the_task_is_at_rest() {
    let server = Server::start(|n, seen| {
        assert!(seen.line.contains("?wait="), "{}", seen.line);
        ok(&task(if n < 2 { "in_progress" } else { "blocked_by_failures" }))
    })
    .await;
    let task = server.client().wait_for_task(Uuid::nil(), Duration::from_secs(60)).await.unwrap();
    assert_eq!(task.summary.status, TaskState::BlockedByFailures);
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn waiting_ends_at_the_limit_and_returns_the_task() {
    let server = Server::start(|_, _| ok(&task("in_progress"))).await;
    let error = server.client().wait_for_task(Uuid::nil(), Duration::from_millis(50)).await.unwrap_err();
    assert!(error.to_string().ends_with("is still in_progress after 0.05 s"), "{error}");
    let ClientError::NotAtRest { task, .. } = error else { panic!("{error:?}") };
    assert_eq!(task.summary.status, TaskState::InProgress);
}

#[tokio::test]
async fn an_unhealthy_server_is_not_an_error() {
    let server = Server::start(|_, seen| {
        assert_eq!(seen.line, "GET /health");
        let health = json!({"status": "unhealthy", "checks": {"database": {"status": "unhealthy", "message": "down"}}});
        answer(503, "application/json", health.to_string())
    })
    .await;
    let health = server.client().health().await.unwrap();
    assert_eq!(health.status, HealthStatus::Unhealthy);
    let health = WorkerClient::new(&server.url).unwrap().worker_health().await.unwrap();
    assert_eq!(health.checks["database"].message.as_deref(), Some("down"));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_worker_returns_its_status() {
    let server = Server::start(|_, seen| {
        assert_eq!(seen.line, "GET /v1/worker/status");
        ok(&json!({
            "worker_id": "w", "namespaces": ["n"], "status": "running", "handlers": ["n.h"], "max_concurrent": 1,
            "running_steps": 0, "completed_steps": 2, "failed_steps": 0, "version": "0.1.0",
            "started_at": "2030-01-01T00:00:00Z",
        }))
    })
    .await;
    let client = WorkerClient::new(&server.url).unwrap();
    assert_eq!(client.get_worker_status().await.unwrap().completed_steps, 2);
    assert_eq!(client.list_workers().await.unwrap()[0].worker_id, "w");
}

#[test]
fn an_invalid_address_is_refused() {
    for url in ["", "localhost:8080", "ftp://host", "http://"] {
        let error = OrchestrationClient::new(url).unwrap_err();
        assert!(matches!(error, ClientError::BadUrl { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn the_api_key_is_sent_and_never_shown() {
    let server = Server::start(|_, seen| {
        assert_eq!(seen.authorization.as_deref(), Some("Bearer s3cret-key"));
        ok(&json!({ "tasks": [], "next_cursor": null }))
    })
    .await;
    let client = server.client().with_api_key("s3cret-key\n").unwrap();
    assert_eq!(client.list_tasks(&ListTasks::default()).await.unwrap().tasks.len(), 0);
    assert!(!format!("{client:?}").contains("s3cret"));

    let unreachable = OrchestrationClient::new("http://127.0.0.1:1").unwrap().with_api_key("s3cret-key").unwrap();
    let error = unreachable.list_tasks(&ListTasks::default()).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("s3cret"), "{error:?}");
    for wrong in ["", "s3cret key", "s3cret\u{e9}"] {
        let error = server.client().with_api_key(wrong).unwrap_err();
        assert!(matches!(error, ClientError::BadApiKey), "{error:?}");
    }
}

#[test]
fn a_place_in_a_trace_must_be_a_traceparent() {
    let client = || OrchestrationClient::new("http://127.0.0.1:1").unwrap();
    assert!(client().with_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").is_ok());
    for wrong in ["", "00-0af7-b7ad-01", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"] {
        let error = client().with_traceparent(wrong).unwrap_err();
        assert!(matches!(error, ClientError::BadTraceparent(_)), "{error:?}");
    }
}

/// Builds a request from JSON, as a caller's file would.
fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn every_call_of_an_operator_has_its_route() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&seen);
    let server = Server::start(move |_, request| {
        lines.lock().unwrap().push(request.line);
        answer(
            404,
            "application/problem+json",
            r#"{"type":"about:blank","title":"no","status":404,"detail":"nothing"}"#,
        )
    })
    .await;
    let api = server.client();
    let id = Uuid::nil();
    let job = of(json!({ "action": "cancel", "filter": { "namespace": "n" } }));
    let schedule = of(json!({ "namespace": "n", "template": "t", "cron": "0 2 * * *" }));
    let mut refused = 0;
    macro_rules! calls {
        ($($call:expr => $line:expr),* $(,)?) => {{
            let mut expected = Vec::new();
            $(
                refused += usize::from(matches!($call.await, Err(ClientError::Problem(_))));
                expected.push($line.replace("ID", &id.to_string()));
            )*
            expected
        }};
    }
    let expected = calls! {
        api.create_task_and_wait(&of(json!({ "namespace": "n", "name": "t", "context": {} })), Duration::from_secs(2))
            => "POST /v1/tasks?wait=2s",
        api.list_attempts(id, &of(json!({}))) => "GET /v1/tasks/ID/attempts",
        api.inspect_step(id, "a b") => "GET /v1/tasks/ID/steps/a%20b",
        api.rerun_task(id, &of(json!({}))) => "POST /v1/tasks/ID/rerun",
        api.fork_task(id, &of(json!({ "step": "a" }))) => "POST /v1/tasks/ID/fork",
        api.create_bulk_job(&job) => "POST /v1/bulk",
        api.get_bulk_job(id) => "GET /v1/bulk/ID",
        api.list_bulk_jobs() => "GET /v1/bulk",
        api.stop_bulk_job(id) => "POST /v1/bulk/ID/stop",
        api.list_schedules(Some("n")) => "GET /v1/schedules?namespace=n",
        api.get_schedule("s") => "GET /v1/schedules/s",
        api.put_schedule("s", &schedule) => "PUT /v1/schedules/s",
        api.delete_schedule("s") => "DELETE /v1/schedules/s",
        api.trigger_schedule("s") => "POST /v1/schedules/s/trigger",
        api.list_dead_letters(&of(json!({ "namespace": "n" }))) => "GET /v1/dlq?namespace=n",
        api.get_dead_letter(id) => "GET /v1/dlq/ID",
        api.open_dead_letter(&of(json!({ "task_uuid": id }))) => "POST /v1/dlq",
        api.patch_dead_letter(id, &of(json!({}))) => "PATCH /v1/dlq/ID",
        api.get_template_layout("n", "t", None) => "GET /v1/templates/n/t/layout",
        api.stats(None) => "GET /v1/stats",
        api.whoami() => "GET /v1/whoami",
        api.list_domain_events("n", &of(json!({ "after": 7 }))) => "GET /v1/namespaces/n/events?after=7",
        api.patch_namespace("n", &of(json!({ "paused": true }))) => "PATCH /v1/namespaces/n",
    };
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(refused, expected.len());
}
