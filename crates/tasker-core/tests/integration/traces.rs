//! Traces, in a real OTLP receiver: from the caller through the server and the worker to the spans of a handler.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::json;
use sqlx::{Connection, PgConnection, PgPool};
use tasker_api::{ForkTask, OperatorAction, RerunTask, StepState, TaskState};
use tasker_client::{ClientError, OrchestrationApiClient};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{DEADLINE, OwnStack, complete, eventually, fault_step, fault_template, run, step, task};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// An OTLP receiver that keeps what it receives: spans, each with the name of its service.
struct Receiver {
    spans: Arc<Mutex<Vec<(String, Span)>>>,
    /// The processes that sent them.
    instances: Arc<Mutex<BTreeSet<String>>>,
    url: String,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    async fn start() -> Result<Self> {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&spans);
        let instances = Arc::new(Mutex::new(BTreeSet::new()));
        let senders = Arc::clone(&instances);
        let receive = async move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("the body is a request of OTLP");
            for resource in request.resource_spans {
                let attributes = resource.resource.unwrap_or_default().attributes;
                senders.lock().unwrap().extend(attribute(&attributes, "service.instance.id"));
                let service = attribute(&attributes, "service.name").expect("a service has a name");
                let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                received.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
            }
        };
        let app = Router::new().route("/v1/traces", post(receive));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { spans, instances, url, _serving: AbortOnDropHandle::new(serving) })
    }

    /// A server and a worker that send their traces here.
    async fn stack(&self) -> Result<OwnStack> {
        let mut stack = OwnStack::start().await?;
        stack.configure(&format!("[telemetry]\notlp_endpoint = {:?}\n", self.url))?;
        stack.start_server()?;
        stack.start_worker()?;
        recording(&stack).await?;
        Ok(stack)
    }

    /// Stops the processes, which send their last spans. Returns all spans.
    fn all(&self, mut stack: OwnStack) -> Result<Vec<(String, Span)>> {
        for process in stack.workers.iter_mut().chain(&mut stack.servers) {
            anyhow::ensure!(process.stop()?.success(), "a process failed");
        }
        Ok(self.spans.lock().unwrap().clone())
    }
}

/// Waits until a server records the tasks at rest.
async fn recording(stack: &OwnStack) -> Result<()> {
    let pool = PgPool::connect(&stack.postgres.url()).await?;
    let held = "select exists (select from pg_locks where locktype = 'advisory' and granted
        and objid = (hashtext('tasker.traces')::bigint & 4294967295)::oid)";
    eventually("a server records", async || {
        let held: bool = sqlx::query_scalar(held).fetch_one(&pool).await?;
        Ok(held.then_some(()))
    })
    .await
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        AnyValue::StringValue(text) => text,
        AnyValue::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn named<'a>(spans: &'a [(String, Span)], name: &str) -> Result<&'a (String, Span)> {
    let names: Vec<_> = spans.iter().map(|(_, span)| &span.name).collect();
    spans.iter().find(|(_, span)| span.name == name).with_context(|| format!("no span {name}: {names:?}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// The receiver runs while this thread waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_caller_to_the_spans_of_a_handler() -> Result<()> {
    let receiver = Receiver::start().await?;
    let stack = receiver.stack().await?;
    let api = stack.api(0)?.with_traceparent(&format!("00-{TRACE}-{CALLER}-01"))?;
    let order = json!({
        "customer": { "id": 1, "email": "ada@example.com" },
        "items": [{ "sku": "book", "quantity": 1, "unit_price_cents": 100 }],
        "payment": { "method": "card" },
        "shipping": {
            "address": { "street": "1 Main Street", "city": "Paris", "postal_code": "75001", "country": "FR" },
            "method": "standard"
        }
    });
    let done = complete(&api, &task("order_fulfillment", "business_workflow", order)).await?;
    let spans = receiver.all(stack)?;
    assert!(spans.iter().all(|(_, span)| hex(&span.trace_id) == TRACE), "{spans:#?}");

    let (service, request) = named(&spans, "POST /v1/tasks")?;
    assert_eq!((service.as_str(), request.kind()), ("tasker-server", SpanKind::Server));
    assert_eq!(hex(&request.parent_span_id), CALLER);
    assert_eq!(attribute(&request.attributes, "http.response.status_code").as_deref(), Some("201"));
    let (_, create) = named(&spans, "create business_workflow")?;
    assert_eq!((create.kind(), &create.parent_span_id), (SpanKind::Producer, &request.span_id));
    let id = done.summary.task_uuid.to_string();
    assert_eq!(attribute(&create.attributes, "tasker.task.id"), Some(id.clone()));

    for step in &done.steps {
        let (_, process) = named(&spans, &format!("process {}", step.callable))?;
        assert_eq!((process.kind(), &process.parent_span_id), (SpanKind::Consumer, &create.span_id));
        assert_eq!(attribute(&process.attributes, "tasker.step.name").as_ref(), Some(&step.name));
        assert_eq!(attribute(&process.attributes, "tasker.step.outcome").as_deref(), Some("completed"));
        assert_eq!(process.links, []);
    }
    // Workers in other languages have no such handler.
    if std::env::var_os("TASKER_TEST_WORKER").is_none() {
        let (service, charge) = named(&spans, "charge")?;
        let (_, payment) = named(&spans, "process order_fulfillment.process_payment")?;
        assert_eq!((service.as_str(), &charge.parent_span_id), ("rust-worker", &payment.span_id));
    }

    let (_, summary) = named(&spans, "task business_workflow")?;
    assert_eq!(summary.parent_span_id, create.span_id);
    assert_eq!(attribute(&summary.attributes, "tasker.task.state").as_deref(), Some("completed"));
    let created = done.summary.created_at.timestamp_nanos_opt().context("a date")?;
    let completed = done.summary.completed_at.and_then(|at| at.timestamp_nanos_opt()).context("an end")?;
    let times = (u64::try_from(created)?, u64::try_from(completed)?);
    assert_eq!((summary.start_time_unix_nano, summary.end_time_unix_nano), times);
    Ok(())
}

// The receiver runs while this thread waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_is_linked_to_the_one_before_and_shows_its_error() -> Result<()> {
    let receiver = Receiver::start().await?;
    let stack = receiver.stack().await?;
    let api = stack.api(0)?;
    let flaky = fault_step("flaky", "faults.fail_times", json!({ "failures": 1 }));
    let name = fault_template(&api, &json!([flaky])).await?;
    run(&api, &task("faults", &name, json!({}))).await?;
    // The caller has decided that this one is not part of a trace.
    let unsampled = stack.api(0)?.with_traceparent(&format!("00-{TRACE}-{CALLER}-00"))?;
    run(&unsampled, &task("faults", &name, json!({}))).await?;

    let spans = receiver.all(stack)?;
    let attempt = |number: &str| {
        let of_number = |span: &&Span| attribute(&span.attributes, "tasker.step.attempt").as_deref() == Some(number);
        let found: Vec<_> = spans.iter().map(|(_, span)| span).filter(of_number).collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0]
    };
    let (first, second) = (attempt("1"), attempt("2"));
    let failed = first.status.clone().unwrap_or_default();
    assert_eq!((failed.code(), failed.message.is_empty()), (StatusCode::Error, false));
    assert_eq!(attribute(&first.attributes, "tasker.step.outcome").as_deref(), Some("retryable_error"));
    assert!(attribute(&first.attributes, "error.type").is_some());
    let links: Vec<_> = second.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!(links, [(&first.trace_id, &first.span_id)]);
    assert_eq!(first.parent_span_id, second.parent_span_id);
    Ok(())
}

// The receiver runs while this thread waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_span_is_sent_once_and_every_link_leads_to_a_span() -> Result<()> {
    let receiver = Receiver::start().await?;
    // A worker that stops releases its steps at once.
    let mut stack = OwnStack::start_with(json!({ "shutdown_timeout_ms": 1 })).await?;
    stack.configure(&format!("[telemetry]\notlp_endpoint = {:?}\n", receiver.url))?;
    // Both servers are told that a task is at rest.
    stack.start_server()?;
    stack.start_server()?;
    stack.start_worker()?;
    let api = stack.api(0)?;
    // An operator's retry begins with the first attempt again.
    let fails = fault_step("fails", "faults.permanent", json!({}));
    let name = fault_template(&api, &json!([fails])).await?;
    let blocked = run(&api, &task("faults", &name, json!({}))).await?;
    let id = blocked.summary.task_uuid;
    stack.api(1)?.retry_task(id, &OperatorAction::default()).await?;
    let again = api.wait_for_task(id, DEADLINE).await?;
    assert_eq!(again.summary.status, TaskState::BlockedByFailures);
    // The worker that stops has the same attempt as the next one.
    let sleeps = fault_step("sleeps", "faults.sleep", json!({ "ms": 2_000 }));
    let name = fault_template(&api, &json!([sleeps])).await?;
    let id = api.create_task(&task("faults", &name, json!({}))).await?.task_uuid;
    eventually("the step runs", async || {
        let task = api.get_task(id).await?;
        Ok((step(&task, "sleeps")?.status == StepState::InProgress).then_some(()))
    })
    .await?;
    let mut worker = stack.workers.pop().context("a worker")?;
    anyhow::ensure!(worker.stop()?.success(), "the worker failed");
    stack.start_worker()?;
    let done = api.wait_for_task(id, DEADLINE).await?;
    assert_eq!(done.summary.status, TaskState::Completed);

    let spans = receiver.all(stack)?;
    let ids: BTreeSet<_> = spans.iter().map(|(_, span)| (&span.trace_id, &span.span_id)).collect();
    assert_eq!(ids.len(), spans.len(), "{spans:#?}");
    let outcomes = |step: &str| {
        let of_step = |span: &&Span| attribute(&span.attributes, "tasker.step.name").as_deref() == Some(step);
        let outcome = |span: &Span| attribute(&span.attributes, "tasker.step.outcome");
        spans.iter().map(|(_, span)| span).filter(of_step).filter_map(outcome).collect::<Vec<_>>()
    };
    assert_eq!(outcomes("fails"), ["permanent_error", "permanent_error"]);
    assert_eq!(outcomes("sleeps"), ["released", "completed"]);
    for link in spans.iter().flat_map(|(_, span)| &span.links) {
        assert!(ids.contains(&(&link.trace_id, &link.span_id)), "{link:?}");
    }
    // Each process is an instance of its service.
    let instances = receiver.instances.lock().unwrap().clone();
    assert_eq!(instances.len(), 4, "{instances:?}");
    Ok(())
}

// The receiver runs while this thread waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_cannot_invent_names_of_spans() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut stack = OwnStack::start().await?;
    stack.configure(&format!("[telemetry]\notlp_endpoint = {:?}\n", receiver.url))?;
    let url = stack.start_server()?.url();
    // Fails if another test has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let method = reqwest::Method::from_bytes(b"INVENTED")?;
    assert_eq!(http.request(method, format!("{url}/v1/tasks")).send().await?.status(), 405);
    let created = stack.api(0)?.create_task(&task("invented", "invented", json!({}))).await;
    assert!(matches!(&created, Err(ClientError::Problem(problem)) if problem.status == 404), "{created:?}");

    let spans = receiver.all(stack)?;
    let names: Vec<_> = spans.iter().map(|(_, span)| span.name.as_str()).collect();
    assert_eq!(names, ["HTTP /v1/tasks", "POST /v1/tasks"]);
    let (_, invented) = named(&spans, "HTTP /v1/tasks")?;
    assert_eq!(attribute(&invented.attributes, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(attribute(&invented.attributes, "url.path").as_deref(), Some("/v1/tasks"));
    Ok(())
}

// The receiver runs while this thread waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_variables_of_opentelemetry_are_obeyed() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut stack = OwnStack::start().await?;
    stack.configure(&format!("[telemetry]\notlp_endpoint = {:?}\nsampling_ratio = 0.0\n", receiver.url))?;
    // The settings decide if a variable is empty.
    for variable in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", ""),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ] {
        stack.variables = vec![variable];
        stack.start_server()?;
        let server = stack.servers.len() - 1;
        let traceparent = format!("00-{TRACE}-{CALLER}-01");
        let api = stack.api(server)?;
        if variable.1.is_empty() { api } else { api.with_traceparent(&traceparent)? }.list_gates(None).await?;
        let mut process = stack.servers.pop().context("a server")?;
        anyhow::ensure!(process.stop()?.success(), "{variable:?}: the server failed");
        let expected = usize::from(variable.1 == "always_on");
        assert_eq!(receiver.spans.lock().unwrap().len(), expected, "{variable:?}");
    }
    stack.variables = vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let refused = format!("{:#}", stack.start_server().err().context("gRPC is refused")?);
    assert!(refused.contains("OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\""), "{refused}");
    Ok(())
}

// The receiver runs while this thread waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_say_why_a_task_ended_and_what_it_runs_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    // Nothing has to run.
    let mut stack = OwnStack::start().await?;
    stack.configure(&format!("[telemetry]\notlp_endpoint = {:?}\n", receiver.url))?;
    stack.variables = vec![("OTEL_BSP_SCHEDULE_DELAY", "100")];
    stack.start_server()?;
    recording(&stack).await?;
    let api = stack.api(0)?;
    let sleeps = fault_step("sleeps", "faults.sleep", json!({ "ms": 60_000 }));
    let name = fault_template(&api, &json!([sleeps])).await?;
    let id = api.create_task(&task("faults", &name, json!({}))).await?.task_uuid;
    let why = OperatorAction { reason: Some("a duplicate".to_owned()), ..OperatorAction::default() };
    api.cancel_task(id, &why).await?;
    let again = api.rerun_task(id, &RerunTask::default()).await?.task_uuid;
    let fork = api.fork_task(id, &ForkTask { step: "sleeps".to_owned(), actor: None, reason: None }).await?.task_uuid;
    for id in [again, fork] {
        api.cancel_task(id, &why).await?;
    }

    eventually("the tasks at rest are recorded", async || {
        let spans = receiver.spans.lock().unwrap();
        Ok((spans.iter().filter(|(_, span)| span.name.starts_with("task ")).count() == 3).then_some(()))
    })
    .await?;
    let (spans, old) = (receiver.all(stack)?, id.to_string());
    for id in [again, fork].map(|id| id.to_string()) {
        let of_task = |start: &str| {
            let found = spans.iter().map(|(_, span)| span).find(|span| {
                span.name.starts_with(start) && attribute(&span.attributes, "tasker.task.id").as_ref() == Some(&id)
            });
            found.with_context(|| format!("no span {start}of {id}"))
        };
        assert_eq!(attribute(&of_task("create ")?.attributes, "tasker.task.rerun_of"), Some(old.clone()));
        let reason = attribute(&of_task("task ")?.attributes, "tasker.task.reason");
        assert_eq!(reason.as_deref(), Some("a duplicate"));
    }
    Ok(())
}

// The receiver runs while this thread waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_a_schedule_has_a_trace_of_its_own() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut stack = receiver.stack().await?;
    // Both servers try to create the task.
    stack.start_server()?;
    let api = stack.api(0)?;
    let name = fault_template(&api, &json!([fault_step("says", "faults.echo", json!({}))])).await?;
    let schedule = json!({ "namespace": "faults", "template": name, "cron": "* * * * *" });
    api.put_schedule("often", &serde_json::from_value(schedule)?).await?;
    let mut connection = PgConnection::connect(&stack.postgres.url()).await?;
    sqlx::query("update tasker.schedules set next_at = date_trunc('minute', now())").execute(&mut connection).await?;
    let last = eventually("the schedule creates a task", async || Ok(api.get_schedule("often").await?.last_task_uuid));
    let id = last.await?;
    api.delete_schedule("often").await?;
    assert_eq!(api.wait_for_task(id, DEADLINE).await?.summary.status, TaskState::Completed);
    // Another minute may have begun meanwhile.
    let tasks: i64 = sqlx::query_scalar("select count(*) from tasker.tasks").fetch_one(&mut connection).await?;

    let spans = receiver.all(stack)?;
    let created = |span: &&Span| span.name == format!("create {name}");
    let creations: Vec<_> = spans.iter().map(|(_, span)| span).filter(created).collect();
    assert_eq!(creations.len(), usize::try_from(tasks)?, "{creations:#?}");
    let is_of = |span: &&&Span| attribute(&span.attributes, "tasker.task.id") == Some(id.to_string());
    let create = creations.iter().find(is_of).context("the creation has a span")?;
    assert_eq!((create.kind(), create.parent_span_id.len()), (SpanKind::Producer, 0));
    assert_eq!(attribute(&create.attributes, "tasker.schedule.name").as_deref(), Some("often"));
    for start in ["process faults.echo", "task "] {
        let of_trace = |(_, span): &&(String, Span)| span.name.starts_with(start) && span.trace_id == create.trace_id;
        let (_, span) = spans.iter().find(of_trace).with_context(|| format!("no span {start}"))?;
        assert_eq!(span.parent_span_id, create.span_id);
    }
    Ok(())
}
