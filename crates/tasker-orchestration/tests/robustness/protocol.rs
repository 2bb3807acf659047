//! What the server makes of requests that browsers, libraries and attackers send.

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::send;
use crate::server::{JSON, Server};

/// Sends bytes as they are, and reads until the server closes the connection.
async fn raw(server: &Server, bytes: &str) -> Result<String> {
    let mut stream = TcpStream::connect(server.address).await?;
    stream.write_all(bytes.as_bytes()).await?;
    let mut response = String::new();
    tokio::time::timeout(crate::server::DEADLINE, stream.read_to_string(&mut response)).await.context("open")??;
    Ok(response)
}

#[tokio::test]
async fn unread_bodies_end_in_a_response_and_an_announced_close() -> Result<()> {
    let server = Server::start("", 1_000).await?;
    // Blocking, as simple clients work: all of the body first, then the response.
    let address = server.address;
    let large = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address)?;
        let body = vec![b' '; 5 * 1024 * 1024];
        let head = "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        stream.write_all(format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes())?;
        stream.write_all(&body)?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        anyhow::Ok(response)
    });
    let response = large.await??;
    ensure!(response.starts_with("HTTP/1.1 413 ") && response.contains("connection: close"), "{response}");

    // The announced length alone is enough, and so is the sum of chunks without one.
    let head = "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let response = raw(&server, &format!("{head}content-length: 9999999999\r\n\r\n")).await?;
    ensure!(response.starts_with("HTTP/1.1 413 ") && response.contains("1048576 bytes"), "{response}");
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    let response = raw(&server, &format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}1\r\n \r\n0\r\n\r\n")).await?;
    ensure!(response.starts_with("HTTP/1.1 413 "), "{response}");

    // Other errors that come before the body.
    for (head, status) in [
        ("POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n", 415),
        ("POST /nowhere HTTP/1.1\r\nhost: localhost\r\n", 404),
        ("PUT /v1/tasks HTTP/1.1\r\nhost: localhost\r\n", 405),
        ("POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-type: text/plain\r\n", 415),
    ] {
        let response = raw(&server, &format!("{head}content-length: 100000\r\n\r\n")).await?;
        ensure!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {response}");
        ensure!(response.contains("connection: close"), "{head}: {response}");
    }
    // A connection that can be used again is not closed.
    let good = "GET /v1/tasks HTTP/1.1\r\nhost: localhost\r\n";
    let response = raw(&server, &format!("{good}\r\n{good}connection: close\r\n\r\n")).await?;
    assert_eq!(response.matches("HTTP/1.1 200 ").count(), 2, "{response}");
    assert_eq!(response.matches("connection: close").count(), 1, "{response}");
    Ok(())
}

#[tokio::test]
async fn types_and_encodings_that_are_not_supported_are_named() -> Result<()> {
    let server = Server::start("", 1_000).await?;
    let body = r#"{"namespace":"n","name":"t","context":{}}"#;
    for (headers, status, words) in [
        (vec![JSON, ("content-encoding", "gzip")], 415, "uncompressed"),
        (vec![JSON, ("content-encoding", "identity")], 201, "pending"),
        (vec![("content-type", "application/x-www-form-urlencoded")], 415, "application/json"),
        (vec![], 415, "application/json"),
    ] {
        let response = send(server.address, "POST", "/v1/tasks", &headers, body).await?;
        ensure!(response.status == status && response.body.contains(words), "{headers:?}: {response:?}");
    }
    // An operator's action needs the type too, even without a body: forms of other sites cannot send it.
    let task = server.create_task().await?;
    let cancel = format!("/v1/tasks/{task}/cancel");
    for headers in
        [vec![], vec![("content-type", "application/x-www-form-urlencoded")], vec![("content-type", "text/plain")]]
    {
        let response = send(server.address, "POST", &cancel, &headers, "").await?;
        ensure!(response.status == 415, "{headers:?}: {response:?}");
    }
    let response = send(server.address, "POST", &cancel, &[JSON], "null").await?;
    ensure!(response.status == 200, "{response:?}");
    let task = server.create_task().await?;
    let response = send(server.address, "POST", &format!("/v1/tasks/{task}/cancel"), &[JSON], "").await?;
    ensure!(response.status == 200, "{response:?}");
    Ok(())
}

#[tokio::test]
async fn pages_of_other_sites_can_do_nothing() -> Result<()> {
    let server = Server::start("allowed_hosts = ['tasker.internal']", 1_000).await?;
    let body = r#"{"namespace":"n","name":"t","context":{}}"#;
    let request = |host: &str, more: &str| {
        format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: {host}\r\n{more}content-type: application/json\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for (host, more, status, kind) in [
        ("localhost", "", 201, "pending"),
        ("tasker.internal:80", "", 201, "pending"),
        ("tasker.internal", "origin: https://tasker.internal\r\n", 201, "pending"),
        ("evil.example", "", 421, "/problems/wrong-host"),
        ("evil.example", "origin: https://evil.example\r\n", 421, "/problems/wrong-host"),
        ("localhost", "origin: https://evil.example\r\n", 403, "/problems/cross-site"),
        ("localhost", "origin: null\r\n", 403, "/problems/cross-site"),
        ("localhost", "sec-fetch-site: cross-site\r\n", 403, "/problems/cross-site"),
        ("localhost", "sec-fetch-site: same-site\r\n", 403, "/problems/cross-site"),
        ("localhost", "sec-fetch-site: same-origin\r\norigin: http://localhost\r\n", 201, "pending"),
    ] {
        let response = raw(&server, &request(host, more)).await?;
        ensure!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{host} {more}: {response}");
        ensure!(response.contains(kind), "{host} {more}: {response}");
    }
    // The absolute form of a request takes precedence over the header.
    let absolute = "GET http://evil.example/v1/tasks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let response = raw(&server, absolute).await?;
    ensure!(response.starts_with("HTTP/1.1 421 "), "{response}");
    // HTTP/1.0 needs no header Host, and browsers do not speak it.
    let response = raw(&server, "GET /v1/tasks HTTP/1.0\r\n\r\n").await?;
    ensure!(response.contains(" 200 OK"), "{response}");
    Ok(())
}

#[tokio::test]
async fn clients_cannot_make_the_metrics_grow() -> Result<()> {
    let server = Server::start("", 1_000).await?;
    let size = async || anyhow::Ok(server.get("/metrics").await?.body.len());
    for path in ["/v1/tasks", "/nowhere"] {
        send(server.address, "METHOD", path, &[], "").await?;
    }
    // The request for the metrics is in the next ones.
    size().await?;
    let before = size().await?;
    for number in 0..50 {
        let method = format!("METHOD{number}");
        send(server.address, &method, "/v1/tasks", &[], "").await?;
        send(server.address, "GET", &format!("/{method}"), &[], "").await?;
        send(server.address, &method, &format!("/{method}"), &[], "").await?;
    }
    let after = size().await?;
    // One more series at most: GET of an unknown path.
    ensure!(after < before + 3_000, "{before} bytes became {after}");
    Ok(())
}

#[tokio::test]
async fn the_description_of_the_api_names_limits_and_errors() -> Result<()> {
    let server = Server::start("", 1_000).await?;
    let document: Value = server.get("/openapi.json").await?.json()?;
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().context("no paths")? {
        for (method, operation) in item.as_object().context("no operations")? {
            operations += 1;
            let responses = operation["responses"].as_object().context("no responses")?;
            for (status, response) in responses {
                let place = format!("{method} {path} {status}");
                ensure!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{place}: {response}");
                let problem = response["content"]
                    .as_object()
                    .is_some_and(|content| content.keys().eq(["application/problem+json"]));
                let expected = status.as_str() >= "400" && status != "431" && !path.starts_with("/health");
                ensure!(problem == expected, "{place}: {response}");
            }
            if path.starts_with("/v1/") {
                for status in ["400", "401", "403", "421", "500", "503"] {
                    ensure!(responses.contains_key(status), "{method} {path} lacks {status}");
                }
            }
            ensure!((operation["security"] == json!([])) == path.starts_with("/health"), "{method} {path}");
            // The media type is required, so a request without a body and its type is refused.
            ensure!(operation["requestBody"].is_null() || operation["requestBody"]["required"] == true, "{path}");
        }
    }
    ensure!(operations > 15, "{operations} operations");
    ensure!(document.get("security").is_none(), "a server without keys asks for none: {}", document["security"]);
    for (pointer, value) in [
        ("/components/schemas/CreateTask/properties/namespace/maxLength", json!(47)),
        ("/components/schemas/CreateTask/properties/namespace/minLength", json!(1)),
        ("/components/schemas/CreateTask/properties/idempotency_key/maxLength", json!(255)),
        ("/components/schemas/CreateTask/properties/priority/maximum", json!(100)),
        ("/components/schemas/OperatorAction/properties/reason/maxLength", json!(1_000)),
        ("/components/schemas/StepDetail/properties/error/type", json!(["object", "null"])),
    ] {
        assert_eq!(document.pointer(pointer), Some(&value), "{pointer}");
    }
    let parameters = document.pointer("/paths/~1v1~1tasks/get/parameters").and_then(Value::as_array);
    let limit = parameters.context("no parameters")?.iter().find(|parameter| parameter["name"] == "limit");
    assert_eq!(limit.context("no limit")?["schema"]["maximum"], 500);
    Ok(())
}
