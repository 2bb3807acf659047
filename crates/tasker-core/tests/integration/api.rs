//! The API as seen by other clients: plain JSON over plain HTTP.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Stack, fault_step, unique};

struct Plain {
    http: reqwest::Client,
    base: String,
}

impl Plain {
    fn new(stack: &Stack) -> Self {
        // Fails if another test of this process has set it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { http: reqwest::Client::new(), base: stack.orchestration_url.clone() }
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Result<(StatusCode, Value)> {
        let request = self.http.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        let answer = request.body(body).send().await?;
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            let kind = answer.headers().get("content-type").context("no content type")?.to_str()?.to_owned();
            anyhow::ensure!(kind == "application/problem+json", "{status} with {kind}");
        }
        Ok((status, answer.json().await?))
    }
}

#[tokio::test]
async fn a_creation_can_wait_for_the_completed_task() -> Result<()> {
    let stack = Stack::start().await?;
    let plain = Plain::new(&stack);
    let body = |key: &str| {
        json!({ "namespace": "linear_workflow", "name": "mathematical_sequence", "context": { "even_number": 2 },
                "idempotency_key": key })
        .to_string()
    };
    let key = uuid::Uuid::new_v4().to_string();
    let (status, task) = plain.post("/v1/tasks?wait=30s", body(&key)).await?;
    assert_eq!(status, StatusCode::CREATED, "{task}");
    assert_eq!(task["status"], "completed");
    assert_eq!(task["steps"][3]["status"], "completed", "{task}");
    // The same request again finds the completed task.
    let (status, again) = plain.post("/v1/tasks?wait=30s", body(&key)).await?;
    assert_eq!((status, &again), (StatusCode::OK, &task));
    // No time to wait: the task as it is.
    let (status, soon) = plain.post("/v1/tasks?wait=0s", body(&uuid::Uuid::new_v4().to_string())).await?;
    assert!(status == StatusCode::ACCEPTED || soon["status"] == "completed", "{status} {soon}");
    assert_eq!(soon["steps"].as_array().map(Vec::len), Some(4), "{soon}");
    let (status, problem) = plain.post("/v1/tasks?wait=soon", body("k")).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    Ok(())
}

#[tokio::test]
async fn a_task_has_the_documented_shape() -> Result<()> {
    let stack = Stack::start().await?;
    let plain = Plain::new(&stack);
    let body = json!({ "namespace": "linear_workflow", "name": "mathematical_sequence", "context": { "even_number": 6 },
                       "priority": 7, "tags": ["a", "b"] });
    let (status, created) = plain.post("/v1/tasks", body.to_string()).await?;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(created["status"], "pending");
    let id = created["task_uuid"].as_str().context("no id")?;

    let (status, task) = plain.get(&format!("/v1/tasks/{id}?wait=30s")).await?;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(task["status"], "completed");
    assert_eq!(task["created_at"], created["created_at"]);
    for (field, value) in [("completion_percentage", 100), ("total_steps", 4), ("completed_steps", 4), ("priority", 7)]
    {
        assert_eq!(task[field], value, "{field}");
    }
    assert_eq!(task["context"], json!({ "even_number": 6 }));
    assert_eq!(task["tags"], json!(["a", "b"]));
    for time in ["created_at", "started_at", "completed_at"] {
        let text = task[time].as_str().with_context(|| format!("no {time}"))?;
        assert!(text.ends_with('Z') && text.contains('T'), "{time}: {text}");
    }
    let step = &task["steps"][1];
    assert_eq!(step["name"], "linear_step_2");
    assert_eq!(step["dependencies"], json!(["linear_step_1"]));
    for field in ["status", "attempts", "max_attempts", "result", "error", "started_at", "completed_at"] {
        assert!(step.get(field).is_some(), "no {field} in {step}");
    }
    assert_eq!(plain.get(&format!("/v1/tasks/{id}/steps")).await?.1["steps"], task["steps"]);
    Ok(())
}

#[tokio::test]
async fn bad_requests_get_a_precise_error() -> Result<()> {
    let stack = Stack::start().await?;
    let plain = Plain::new(&stack);
    let request = |extra: &str| {
        format!(
            r#"{{"namespace":"linear_workflow","name":"mathematical_sequence","context":{{"even_number":6}}{extra}}}"#
        )
    };
    let deep = format!(r#"{{"namespace":"a","name":"b","context":{}1{}}}"#, r#"{"a":"#.repeat(500), "}".repeat(500));
    let large = format!(r#"{{"namespace":"a","name":"b","context":{{"a":"{}"}}}}"#, "x".repeat(1 << 20));
    for (body, status, words) in [
        (String::new(), 400, "EOF"),
        ("[]".to_owned(), 400, "a JSON object, not an array"),
        (r#"{"namespace":"a","name":"b"}"#.to_owned(), 400, "context"),
        (request(r#","colour":"red""#), 400, "colour"),
        (request(r#","priority":101"#), 400, "0 to 100"),
        (request(r#","priority":"high""#), 400, "priority"),
        (request(r#","tags":7"#), 400, "tags"),
        (request(r#","idempotency_key":"""#), 400, "1 to 255"),
        (request(r#","idempotency_key":"a\u0000b""#), 400, "NUL"),
        (request(r#","tags":["\ud800"]"#), 400, "line 1"),
        (request(r#","version":"9.9.9""#), 404, "9.9.9"),
        (r#"{"namespace":"no","name":"such","context":{}}"#.to_owned(), 404, "/v1/templates"),
        (
            r#"{"namespace":"linear_workflow","name":"mathematical_sequence","context":{"even_number":"6"}}"#
                .to_owned(),
            422,
            "/even_number",
        ),
        (
            r#"{"namespace":"linear_workflow","name":"mathematical_sequence","context":{"a\u0000":1}}"#.to_owned(),
            400,
            "NUL",
        ),
        (deep, 400, "100 levels"),
        (large, 413, "1048576"),
    ] {
        let shown: String = body.chars().take(120).collect();
        let (code, problem) = plain.post("/v1/tasks", body).await?;
        assert_eq!(code.as_u16(), status, "{shown}: {problem}");
        assert_eq!(problem["status"], status, "{shown}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{shown}: {problem}");
    }
    for (path, status, words) in [
        ("/v1/tasks/not-a-uuid", 400, "UUID"),
        ("/v1/tasks/018f0000-0000-7000-8000-000000000000", 404, "018f0000"),
        ("/v1/tasks/018f0000-0000-7000-8000-000000000000/steps", 404, "018f0000"),
        ("/v1/tasks/018f0000-0000-7000-8000-000000000000?wait=soon", 400, "30s"),
        ("/v1/tasks?limit=0", 400, "1 to 500"),
        ("/v1/tasks?limit=x", 400, "limit"),
        ("/v1/tasks?status=done", 400, "in_progress"),
        ("/v1/tasks?cursor=x", 400, "next_cursor"),
        ("/v1/tasks?colour=red", 400, "colour"),
        ("/v1/templates/no/such", 404, "no"),
        ("/nowhere", 404, "/openapi.json"),
    ] {
        let (code, problem) = plain.get(path).await?;
        assert_eq!(code.as_u16(), status, "{path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{path}: {problem}");
    }
    let form = plain.http.post(format!("{}/v1/tasks", plain.base)).body("x=1").send().await?;
    assert_eq!(form.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    Ok(())
}

#[tokio::test]
async fn lists_are_paged_newest_first() -> Result<()> {
    let stack = Stack::start().await?;
    let plain = Plain::new(&stack);
    let namespace = unique("paged");
    let namespace = &namespace[..30];
    let template = json!({ "name": "t", "namespace_name": namespace, "version": "1.0.0",
                           "steps": [fault_step("a", "nobody.serves_this", json!({}))] });
    plain.post("/v1/templates", template.to_string()).await?;
    let mut created = Vec::new();
    for _ in 0..7 {
        let body = json!({ "namespace": namespace, "name": "t", "context": {} });
        created.push(plain.post("/v1/tasks", body.to_string()).await?.1["task_uuid"].clone());
    }
    created.reverse();
    let mut listed = Vec::new();
    let mut path = format!("/v1/tasks?namespace={namespace}&status=pending&limit=3");
    loop {
        let (_, page) = plain.get(&path).await?;
        listed.extend(page["tasks"].as_array().context("no tasks")?.iter().map(|task| task["task_uuid"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/tasks?namespace={namespace}&status=pending&limit=3&cursor={cursor}");
    }
    assert_eq!(listed, created);
    assert_eq!(plain.get(&format!("/v1/tasks?namespace={namespace}&status=completed")).await?.1["tasks"], json!([]));
    Ok(())
}

#[tokio::test]
async fn health_metrics_and_documents_respond_quickly() -> Result<()> {
    let stack = Stack::start().await?;
    let plain = Plain::new(&stack);
    for url in [&stack.orchestration_url, &stack.worker_url] {
        for path in ["/health", "/health/live", "/health/ready"] {
            let health: Value = plain.http.get(format!("{url}{path}")).send().await?.json().await?;
            assert_eq!(health["status"], "healthy", "{url}{path}");
        }
        let metrics = plain.http.get(format!("{url}/metrics")).send().await?.text().await?;
        assert!(metrics.contains("# TYPE tasker_") && metrics.ends_with("# EOF\n"), "{metrics}");
        // Not a benchmark: far above the 50 ms that it should take, and far below a hang.
        let begun = Instant::now();
        plain.http.get(format!("{url}/health")).send().await?;
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    let (_, document) = plain.get("/openapi.json").await?;
    for path in ["/v1/tasks", "/v1/tasks/{task_uuid}", "/v1/tasks/{task_uuid}/cancel", "/v1/templates", "/v1/workers"] {
        assert!(document["paths"].get(path).is_some(), "{path} is not described");
    }
    // A task with its steps is a task, too, so a created task is not exactly one of the two.
    let created = &document["components"]["schemas"]["CreatedTask"];
    assert_eq!(created["anyOf"].as_array().map(Vec::len), Some(2), "{created}");
    let (_, workers) = plain.get("/v1/workers?namespace=linear_workflow").await?;
    let worker = workers["workers"].as_array().and_then(|all| all.iter().find(|one| one["status"] == "running"));
    let worker = worker.context("no running worker")?;
    assert!(worker["worker_id"].is_string() && worker["last_heartbeat_at"].is_string());
    let info = plain.get("/v1/system/info").await?.1;
    assert!(["extension", "sql"].contains(&info["pgmq"]["installed_as"].as_str().unwrap_or_default()), "{info}");
    let namespaces = plain.get("/v1/namespaces").await?.1;
    assert!(
        namespaces["namespaces"].as_array().is_some_and(|all| all.iter().any(|one| one["namespace"] == "benchmark"))
    );
    Ok(())
}
