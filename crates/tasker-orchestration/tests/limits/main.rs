//! Every limit of the API: the largest value is accepted, and the next larger one is refused with a problem
//! document that names the limit. `docs/limits.md` lists the limits.

#[path = "../access/http.rs"]
mod http;

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use http::{Answer, database, send};
use local_postgres::LocalPostgres;
use serde_json::{Value, json};
use tasker_orchestration::Server;
use tasker_runtime::settings::Settings;
use tokio_util::sync::CancellationToken;

const TASK: &str = "01890000-0000-7000-8000-000000000000";

struct Api {
    address: SocketAddr,
    shutdown: CancellationToken,
    _postgres: LocalPostgres,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Api {
    /// Starts a server with template `n/t`, whose one step `a` no worker runs.
    async fn start() -> Result<Self> {
        let postgres = database().await?;
        let mut settings = Settings::default();
        settings.database.url = postgres.url();
        settings.orchestration.port = 0;
        settings.orchestration.max_wait_ms = 10;
        let server = Server::bind(&settings).await?;
        let (address, shutdown) = (server.address(), CancellationToken::new());
        tokio::spawn(server.run(shutdown.clone()));
        let api = Self { address, shutdown, _postgres: postgres };
        let template = json!({ "name": "t", "namespace_name": "n", "version": "1.0.0", "steps": steps(1) });
        api.expect("POST", "/v1/templates", &template.to_string(), 201, "created").await?;
        Ok(api)
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let json = [("content-type", "application/json")];
        send(self.address, method, path, if body.is_empty() { &[] } else { &json }, body).await
    }

    /// Expects this status and these words in the response. Every error must be a problem document.
    async fn expect(&self, method: &str, path: &str, body: &str, status: u16, words: &str) -> Result<Value> {
        let answer = self.send(method, path, body).await?;
        let shown: String = format!("{method} {path} {body}").chars().take(150).collect();
        ensure!(answer.status == status && answer.body.contains(words), "{shown}: not {status}, {words}: {answer:?}");
        let is_problem = answer.head.contains("application/problem+json");
        ensure!(is_problem == (status >= 400), "{shown}: {}", answer.head);
        ensure!(answer.body.len() < 10_000, "{shown}: {} bytes", answer.body.len());
        answer.json()
    }
}

/// Steps of which the last one depends on all others.
fn steps(count: usize) -> Vec<Value> {
    let step = |number: usize| json!({ "name": format!("s{number}"), "handler": { "callable": "c" } });
    let mut steps: Vec<_> = (0..count).map(step).collect();
    if let Some(last) = steps.last_mut() {
        last["name"] = json!("a");
        last["dependencies"] = (0..count - 1).map(|number| json!(format!("s{number}"))).collect();
    }
    steps
}

/// A request for a task of `n/t`, with one field changed.
fn request(field: &str, value: Value) -> String {
    let mut request = json!({ "namespace": "n", "name": "t", "context": {} });
    request[field] = value;
    request.to_string()
}

fn nested(levels: usize) -> String {
    format!("{}{}", r#"{"a":"#.repeat(levels - 1) + "{", "}".repeat(levels))
}

#[tokio::test]
async fn limits_of_requests_for_tasks() -> Result<()> {
    let api = Api::start().await?;
    let text = |length: usize| json!("ü".repeat(length));
    let tags = |count: usize| Value::from(vec!["tag"; count]);
    let named = |length: usize| json!({ "x".repeat(length): "value" });
    let with_context = |context: &str| format!(r#"{{"namespace":"n","name":"t","context":{context}}}"#);
    // These short numbers stand for 2 MiB of digits.
    let long_numbers = with_context(&format!(r#"{{"a":[1e300{}]}}"#, ",1e300".repeat(7_000)));
    for (body, status, words) in [
        (request("namespace", text(47)), 404, "/v1/templates"),
        (request("namespace", text(48)), 400, "namespace must have 1 to 47 characters, not 48"),
        (request("namespace", text(0)), 400, "namespace must have 1 to 47 characters, not 0"),
        (request("name", text(128)), 404, "/v1/templates"),
        (request("name", text(129)), 400, "name must have 1 to 128 characters, not 129"),
        (request("version", text(64)), 404, "/v1/templates"),
        (request("version", text(65)), 400, "version must have 1 to 64 characters, not 65"),
        (request("idempotency_key", text(255)), 201, "pending"),
        (request("idempotency_key", text(256)), 400, "idempotency_key must have 1 to 255 characters, not 256"),
        (request("idempotency_key", text(0)), 400, "idempotency_key must have 1 to 255 characters, not 0"),
        (request("priority", json!(0)), 201, "pending"),
        (request("priority", json!(100)), 201, "pending"),
        (request("priority", json!(2.0)), 201, "pending"),
        (request("priority", json!(null)), 201, "pending"),
        (request("priority", json!(101)), 400, "priority must be 0 to 100, not 101"),
        (request("priority", json!(-1)), 400, "priority must be 0 to 100, not -1"),
        (request("priority", json!(32_768)), 400, "priority must be 0 to 100, not 32768"),
        (request("priority", json!(u64::MAX)), 400, "priority must be 0 to 100, not 18446744073709551615"),
        (request("priority", json!(1.5)), 400, "priority must be 0 to 100, not 1.5"),
        (request("priority", json!("1")), 400, "priority"),
        (request("tags", tags(32)), 201, "pending"),
        (request("tags", tags(33)), 400, "up to 32 tags, not 33"),
        (request("tags", json!([text(255)])), 201, "pending"),
        (request("tags", json!([text(256)])), 400, "a tag must have 0 to 255 characters, not 256"),
        (request("tags", named(255)), 201, "pending"),
        (request("tags", named(256)), 400, "the name of a tag must have 0 to 255 characters, not 256"),
        (request("tags", json!({ "a": text(256) })), 400, "a tag must have 0 to 255 characters, not 256"),
        (request("tags", json!([["nested"]])), 400, "an array of strings, or an object of strings"),
        (request("context", json!([])), 400, "context"),
        (request("colour", json!("red")), 400, "unknown field `colour`"),
        (with_context(&nested(100)), 201, "pending"),
        (with_context(&nested(101)), 400, "nested more than 100 levels deep"),
        (with_context(&nested(100_000)), 400, "nested more than 100 levels deep"),
        (with_context(r#"{"a":1,"a":2}"#), 400, "the key `a` appears twice"),
        (with_context(r#"{},"context":{}"#), 400, "the key `context` appears twice"),
        (with_context(r#"{"a":"\u0000"}"#), 400, "NUL"),
        (with_context(r#"{"a":"\ud800"}"#), 400, "context.a: "),
        (with_context(r#"{"a":1e400}"#), 400, "number out of range"),
        (with_context(r#"{"a":12345678901234567890}"#), 201, "pending"),
        (with_context(r#"{"a":123456789012345678901}"#), 400, "123456789012345678901 does not fit into 64 bits"),
        (with_context(r#"{"a":-0.0,"b":1e-400}"#), 201, "pending"),
        (with_context(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000_000))), 201, "pending"),
        (with_context(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20))), 413, "the limit is 1048576 bytes"),
        (long_numbers, 413, "the limit is 1048576"),
    ] {
        api.expect("POST", "/v1/tasks", &body, status, words).await?;
    }
    Ok(())
}

#[tokio::test]
async fn limits_of_actions_of_operators() -> Result<()> {
    let api = Api::start().await?;
    let text = |length: usize| "ü".repeat(length);
    for (action, body, status, words) in [
        ("retry", json!({ "actor": text(255), "reason": text(1_000) }), 409, "wrong-state"),
        ("retry", json!({ "actor": text(256) }), 400, "actor must have 0 to 255 characters, not 256"),
        ("cancel", json!({ "reason": text(1_001) }), 400, "reason must have 0 to 1000 characters, not 1001"),
        ("fail", json!({ "actor": "a\0b" }), 400, "NUL"),
        ("steps/a/retry", json!({ "because": "" }), 400, "unknown field `because`"),
        ("steps/a/resolve", json!({ "result": "x".repeat(1 << 20) }), 413, "the limit is 1048576 bytes"),
        ("steps/a/resolve", json!({ "result": vec![1e300; 4_000] }), 413, "bytes of JSON; the limit is 1048576"),
        (
            "steps/a/resolve",
            json!({ "result": 1, "reason": text(1_001) }),
            400,
            "reason must have 0 to 1000 characters",
        ),
        ("steps/a%00/retry", json!({}), 400, "NUL"),
        ("steps/a%ff/retry", json!({}), 400, "UTF-8"),
        ("steps/nobody/retry", json!({}), 404, "step-not-found"),
        ("steps/a/resolve", json!({ "result": "x".repeat(1_000_000) }), 200, "completed"),
    ] {
        let task = api.expect("POST", "/v1/tasks", &request("priority", json!(1)), 201, "pending").await?;
        let task = task["task_uuid"].as_str().unwrap_or_default();
        api.expect("POST", &format!("/v1/tasks/{task}/{action}"), &body.to_string(), status, words).await?;
    }
    // The responses that show a result of the deepest nesting can be parsed.
    for (levels, status, words) in [(100, 200, "completed"), (101, 400, "nested more than 100 levels deep")] {
        let task = api.expect("POST", "/v1/tasks", &request("priority", json!(1)), 201, "pending").await?;
        let path = format!("/v1/tasks/{}", task["task_uuid"].as_str().unwrap_or_default());
        let body = format!(r#"{{"result":{}}}"#, nested(levels));
        api.expect("POST", &format!("{path}/steps/a/resolve"), &body, status, words).await?;
        api.expect("GET", &path, "", 200, "steps").await?;
    }
    Ok(())
}

#[tokio::test]
async fn limits_of_queries() -> Result<()> {
    let api = Api::start().await?;
    let task = |query: &str| format!("/v1/tasks/{TASK}?{query}");
    for (path, status, words) in [
        ("/v1/tasks?limit=1".to_owned(), 200, "tasks"),
        ("/v1/tasks?limit=500".to_owned(), 200, "tasks"),
        ("/v1/tasks?limit=501".to_owned(), 400, "1 to 500, not 501"),
        ("/v1/tasks?limit=0".to_owned(), 400, "1 to 500, not 0"),
        ("/v1/tasks?limit=-1".to_owned(), 400, "1 to 500, not -1"),
        ("/v1/tasks?limit=9223372036854775808".to_owned(), 400, "limit"),
        ("/v1/tasks?limit=1&limit=2".to_owned(), 400, "limit"),
        ("/v1/tasks?namespace=%00".to_owned(), 400, "NUL"),
        ("/v1/tasks?namespace=%ff".to_owned(), 200, "tasks"),
        (format!("/v1/tasks?namespace={}", "x".repeat(50_000)), 200, "tasks"),
        ("/v1/tasks?order=oldest".to_owned(), 400, "unknown field `order`"),
        ("/v1/templates/n/t?version=%00".to_owned(), 400, "NUL"),
        ("/v1/templates/n%00/t".to_owned(), 400, "NUL"),
        ("/v1/templates/n/%ff".to_owned(), 400, "UTF-8"),
        ("/v1/templates?namespace=a%00".to_owned(), 400, "NUL"),
        ("/v1/workers?namespace=%00".to_owned(), 400, "NUL"),
        // The server shortens these to its longest wait, which is 10 ms here.
        (task("wait=99999m"), 404, "task-not-found"),
        (task("wait=18446744073709551615s"), 404, "task-not-found"),
        (task("wait=18446744073709551616s"), 400, "30s, 500ms or 1m"),
        (task("wait=-1s"), 400, "30s, 500ms or 1m"),
        (task("wait=1h"), 404, "task-not-found"),
        (task("wait=30"), 400, "30s, 500ms or 1m"),
    ] {
        api.expect("GET", &path, "", status, words).await?;
    }
    // The response to headers over the limit has no body.
    let answer = api.send("GET", &format!("/v1/tasks?namespace={}", "x".repeat(70_000)), "").await?;
    assert_eq!(answer.status, 431, "{answer:?}");
    for (count, status) in [(90, 200), (101, 431)] {
        let headers = vec![("x-header", "value"); count];
        let answer = send(api.address, "GET", "/v1/tasks", &headers, "").await?;
        assert_eq!(answer.status, status, "{count} headers: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn limits_of_templates() -> Result<()> {
    let api = Api::start().await?;
    let template =
        |name: &str, steps: Value| json!({ "name": name, "namespace_name": "n", "version": "1.0.0", "steps": steps });
    let with = |name: &str, field: &str, value: Value| {
        let mut template = template(name, json!(steps(1)));
        template[field] = value;
        template
    };
    let in_step = |name: &str, field: &str, value: Value| {
        let mut steps = steps(1);
        steps[0][field] = value;
        template(name, json!(steps))
    };
    let independent = |count: usize| -> Value {
        let mut steps = steps(count);
        for step in &mut steps {
            step["dependencies"] = json!([]);
        }
        steps.into()
    };
    let text = |length: usize| json!("x".repeat(length));
    let deep = |levels: usize| serde_json::from_str::<Value>(&nested(levels)).unwrap_or_default();
    let week: u64 = 7 * 24 * 3600;
    for (template, status, words) in [
        (template("steps", independent(1_000)), 201, "created"),
        (template("steps2", independent(1_001)), 422, "1 to 1000 steps, not 1001"),
        (template("none", json!([])), 422, "1 to 1000 steps, not 0"),
        (template("fan", json!(steps(251))), 201, "created"),
        (template("fan2", json!(steps(252))), 422, "up to 250 steps, not 251"),
        (with("", "name", text(128)), 201, "created"),
        (with("", "name", text(129)), 422, "129 characters; the limit is 128"),
        (with("space", "namespace_name", text(47)), 201, "created"),
        (with("space2", "namespace_name", text(48)), 422, "1 to 47"),
        (with("version", "version", json!(format!("1.0.0-{}", "x".repeat(58)))), 201, "created"),
        (with("version2", "version", json!(format!("1.0.0-{}", "x".repeat(59)))), 422, "the limit is 64"),
        (with("huge", "version", json!("18446744073709551616.0.0")), 422, "not a full semantic version"),
        (with("deep", "metadata", deep(63)), 201, "created"),
        (with("deep2", "metadata", deep(64)), 422, "more than 64 levels deep"),
        (in_step("step", "name", text(128)), 201, "created"),
        (in_step("step2", "name", text(129)), 422, "129 characters; the limit is 128"),
        (in_step("callable", "handler", json!({ "callable": "x".repeat(255) })), 201, "created"),
        (in_step("callable2", "handler", json!({ "callable": "x".repeat(256) })), 422, "the limit is 255"),
        (in_step("retry", "retry", json!({ "limit": 100 })), 201, "created"),
        (in_step("retry2", "retry", json!({ "limit": 101 })), 422, "between 1 and 100, not 101"),
        (in_step("retry3", "retry", json!({ "limit": -1 })), 422, "between 1 and 100, not -1"),
        (in_step("backoff", "retry", json!({ "max_backoff_ms": week * 1_000 })), 201, "created"),
        (in_step("backoff2", "retry", json!({ "max_backoff_ms": week * 1_000 + 1 })), 422, "between 0 and 604800000"),
        (in_step("timeout", "timeout_seconds", json!(week)), 201, "created"),
        (in_step("timeout2", "timeout_seconds", json!(week + 1)), 422, "between 1 and 604800"),
        (in_step("timeout3", "timeout_seconds", json!(0)), 422, "between 1 and 604800"),
        (in_step("timeout4", "timeout_seconds", json!(u64::MAX)), 422, "between 1 and 604800"),
    ] {
        api.expect("POST", "/v1/templates", &template.to_string(), status, words).await?;
    }
    let whole = template("whole", json!(steps(1))).to_string();
    api.expect("POST", "/v1/templates", &format!("{whole}{}", " ".repeat((1 << 20) - whole.len())), 201, "created")
        .await?;
    api.expect("POST", "/v1/templates", &format!("{whole}{}", " ".repeat(1 << 20)), 413, "the limit is 1048576 bytes")
        .await?;
    Ok(())
}
