//! The binaries without a stack: exit codes, sources of settings, and the commands that need no server.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The exit code and the output of a program.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// A temporary home folder, so that the user's settings have no effect.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("HOME", self.path()).current_dir(self.path()).stdin(Stdio::null());
        for variable in
            ["TASKER_ORCHESTRATION_URL", "TASKER_WORKER_URL", "TASKER_CONFIG_PATH", "TASKER_ENV", "DATABASE_URL"]
        {
            command.env_remove(variable);
        }
        command
    }

    fn cli(&self, arguments: &[&str]) -> Ended {
        run(&mut self.program(env!("CARGO_BIN_EXE_tasker-cli"), arguments))
    }
}

fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An address at which nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A server that responds to one request, and returns the request's first line and body.
struct Server {
    url: String,
    thread: thread::JoinHandle<(String, Value)>,
}

impl Server {
    fn answering(status: u16, body: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let content_type = if status < 400 { "application/json" } else { "application/problem+json" };
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let asked = read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            asked
        });
        Self { url, thread }
    }

    fn asked(self) -> (String, Value) {
        self.thread.join().unwrap()
    }
}

fn read_request(stream: &mut TcpStream) -> (String, Value) {
    let mut text = String::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.lines().next().unwrap().trim().parse::<usize>().unwrap());
        if body.len() >= length {
            let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            return (line, serde_json::from_str(body).unwrap_or(Value::Null));
        }
    }
}

fn task(status: &str) -> Value {
    json!({
        "task_uuid": "0198c0de-0000-7000-8000-000000000001", "namespace": "n", "name": "t", "version": "1.0.0",
        "status": status, "completion_percentage": 50, "total_steps": 2, "completed_steps": 1, "failed_steps": 1,
        "priority": 0, "created_at": "2030-01-01T00:00:00Z", "started_at": "2030-01-01T00:00:00.100Z",
        "completed_at": null, "context": {"a": 1}, "idempotency_key": null, "rerun_of": null,
        "steps": [
            {"name": "one", "callable": "c", "due_at": null, "status": "completed", "attempts": 1, "max_attempts": 3,
             "dependencies": [], "result": {"r": 36}, "error": null, "worker_id": "w", "started_at": "2030-01-01T00:00:00.100Z",
             "completed_at": "2030-01-01T00:00:00.112Z"},
            {"name": "two", "callable": "c", "due_at": null, "status": "failed", "attempts": 3, "max_attempts": 3,
             "dependencies": ["one"], "result": null, "error": {"kind": "permanent", "message": "card declined"}, "worker_id": "w",
             "started_at": null, "completed_at": null},
        ],
    })
}

const ID: &str = "0198c0de-0000-7000-8000-000000000001";

const TEMPLATE: &str = "\
name: diamond
namespace_name: shapes
version: 1.2.0
steps:
  - name: start
    handler: { callable: shapes.start }
  - name: left
    handler: { callable: shapes.left }
    dependencies: [start]
  - name: right
    handler: { callable: shapes.right }
    dependencies: [start]
  - name: end
    handler: { callable: shapes.end }
    dependencies: [left, right]
";

#[test]
fn help_lists_the_exit_codes_and_wrong_usage_is_2() {
    let home = Home::new();
    let help = home.cli(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("3  the server, worker or database cannot be reached"), "{}", help.stdout);
    for wrong in
        [&[] as &[&str], &["tusk"], &["task", "get"], &["task", "get", "--id", "x"], &["task", "list", "--status", "x"]]
    {
        assert_eq!(home.cli(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn an_unreachable_server_is_3_with_its_address_and_a_hint() {
    let home = Home::new();
    let url = nowhere();
    let ended = home.cli(&["task", "list", "--url", &url]);
    assert_eq!(ended.code, 3);
    assert!(
        ended.stderr.starts_with(&format!("tasker-cli: cannot reach {url}/v1/tasks?limit=50: Connection refused")),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("hint: is the server running?"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");

    let ended = home.cli(&["worker", "health", "--worker-url", &url]);
    assert_eq!(ended.code, 3);
    assert!(ended.stderr.contains("hint: is the worker running?"), "{}", ended.stderr);
    assert_eq!(home.cli(&["system", "health", "--url", &url]).code, 3);
    let database = url.replace("http://", "postgres://me:secret@") + "/tasker";
    let ended = home.cli(&["db", "migrate", "--database-url", &database]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
}

#[test]
fn the_address_comes_from_the_flag_then_the_environment_then_the_file() {
    let home = Home::new();
    let list = json!({"tasks": [], "next_cursor": null});
    let ask = |flag: Option<&str>, variable: Option<&str>, file: Option<&str>| {
        if let Some(url) = file {
            home.write(".tasker/config.toml", &format!("orchestration_url = '{url}'"));
        }
        let mut arguments = vec!["task", "list"];
        arguments.extend(flag.iter().flat_map(|url| ["--url", url]));
        let mut command = home.program(env!("CARGO_BIN_EXE_tasker-cli"), &arguments);
        if let Some(url) = variable {
            command.env("TASKER_ORCHESTRATION_URL", url);
        }
        assert_eq!(run(&mut command).code, 0);
    };
    let (server, wrong) = (Server::answering(200, &list), nowhere());
    ask(Some(&server.url), Some(&wrong), Some(&wrong));
    server.asked();
    let server = Server::answering(200, &list);
    ask(None, Some(&server.url), Some(&wrong));
    server.asked();
    let server = Server::answering(200, &list);
    ask(None, None, Some(&server.url));
    assert_eq!(server.asked().0, "GET /v1/tasks?limit=50");

    home.write(".tasker/config.toml", "url = 'x'");
    let ended = home.cli(&["task", "list"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains(".tasker/config.toml:1:1: unknown field `url`"), "{}", ended.stderr);
}

#[test]
fn a_task_is_created_from_json_a_file_or_standard_input() {
    let home = Home::new();
    let file = home.write("input.json", r#"{"even_number": 6}"#);
    for input in [r#"{"even_number": 6}"#, &format!("@{file}"), "-"] {
        let server = Server::answering(201, &task("pending"));
        let mut command = home.program(
            env!("CARGO_BIN_EXE_tasker-cli"),
            &[
                "task",
                "create",
                "--namespace",
                "n",
                "--name",
                "t",
                "--input",
                input,
                "--tag",
                "x",
                "--url",
                &server.url,
            ],
        );
        let ended = run(command.stdin(fs::File::open(&file).unwrap()));
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains(&format!("tasker-cli task watch --id {ID}")), "{}", ended.stdout);
        let body = json!({"namespace": "n", "name": "t", "context": {"even_number": 6}, "tags": ["x"]});
        assert_eq!(server.asked(), ("POST /v1/tasks".to_owned(), body));
    }
    let ended = home.cli(&["task", "create", "--namespace", "n", "--name", "t", "--input", "{"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--input is not JSON"), "{}", ended.stderr);
}

#[test]
fn bad_input_is_2_and_other_refusals_are_1() {
    let home = Home::new();
    for (status, code) in [(400, 2), (422, 2), (404, 1), (409, 1), (500, 1)] {
        let problem = json!({"type": "/problems/x", "title": "T", "status": status, "detail": "what was wrong"});
        let server = Server::answering(status, &problem);
        let ended = home.cli(&["task", "create", "--namespace", "n", "--name", "t", "--url", &server.url]);
        assert_eq!((ended.code, ended.stderr.as_str()), (code, "tasker-cli: what was wrong\n"));
    }
}

#[test]
fn a_missing_certificate_file_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Offers TLS, as PostgreSQL does. Then the client reads the file.
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();
        stream.write_all(b"S").unwrap();
        let _ = stream.read(&mut [0]);
    });
    let database = format!("postgres://me@{address}/d?sslmode=verify-full&sslrootcert=/nowhere/ca.crt");
    let ended = Home::new().cli(&["db", "migrate", "--database-url", &database]);
    let expected = "tasker-cli: cannot read /nowhere/ca.crt, which sslrootcert names: No such file or directory";
    assert!(ended.code == 2 && ended.stderr.starts_with(expected), "{ended:?}");
    server.join().unwrap();
}

#[test]
fn errors_are_json_if_asked_for() {
    let home = Home::new();
    let error = |ended: &Ended| serde_json::from_str::<Value>(ended.stderr.lines().last().unwrap()).unwrap();
    let problem = json!({"type": "/problems/x", "title": "T", "status": 422, "detail": "what was wrong"});
    let server = Server::answering(422, &problem);
    let ended = home.cli(&["--json", "task", "create", "--namespace", "n", "--name", "t", "--url", &server.url]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    let refused = error(&ended);
    assert_eq!((&refused["exit_code"], &refused["message"]), (&json!(2), &json!("what was wrong")));
    assert_eq!(refused["problem"]["status"], 422);

    let ended = home.cli(&["--json", "task", "list", "--url", &nowhere()]);
    assert_eq!(ended.code, 3);
    let unreachable = error(&ended);
    assert_eq!(unreachable["exit_code"], 3);
    assert!(unreachable["hint"].as_str().unwrap().starts_with("is the server running?"), "{unreachable}");

    let ended = home.cli(&["task", "get", "--json"]);
    assert_eq!(ended.code, 2);
    assert!(error(&ended)["message"].as_str().unwrap().contains("--id <ID>"), "{}", ended.stderr);
}

#[test]
fn an_interrupted_wait_names_the_task_and_ends_with_130() {
    let home = Home::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (waits, waiting) = mpsc::channel();
        // Creates the task, then never responds to the request that waits for it.
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            read_request(&mut stream);
            let body = task("pending").to_string();
            let head = format!("HTTP/1.1 201 X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
            drop(stream);
            let (mut stream, _) = listener.accept().unwrap();
            waits.send(read_request(&mut stream).0).unwrap();
            // Returns when the program has ended.
            let _ = stream.read(&mut [0]);
        });
        let arguments = ["task", "create", "--namespace", "n", "--name", "t", "--wait", "--url", &url];
        let mut command = home.program(env!("CARGO_BIN_EXE_tasker-cli"), &arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let request = waiting.recv_timeout(Duration::from_secs(30));
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(request.unwrap(), format!("GET /v1/tasks/{ID}"));
        server.join().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(stderr.starts_with(&format!("Created task {ID}\n")), "{stderr}");
        assert!(stderr.contains("tasker-cli: interrupted\nhint: the task continues; "), "{stderr}");
    }
}

#[test]
fn a_task_is_shown_with_its_steps_or_as_json() {
    let home = Home::new();
    let server = Server::answering(200, &task("blocked_by_failures"));
    let ended = home.cli(&["task", "get", "--id", ID, "--url", &server.url]);
    assert_eq!(ended.code, 0);
    for expected in
        ["n/t 1.0.0", "blocked_by_failures, 50 % (1 of 2 steps)", r#"{"r":36}"#, "12 ms", "error: card declined"]
    {
        assert!(ended.stdout.contains(expected), "{expected} in {}", ended.stdout);
    }
    let server = Server::answering(200, &task("completed"));
    let ended = home.cli(&["--json", "task", "get", "--id", ID, "--url", &server.url]);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), task("completed"));
}

#[test]
fn watching_a_task_that_does_not_complete_ends_with_1_and_the_reason() {
    let home = Home::new();
    let server = Server::answering(200, &task("blocked_by_failures"));
    let ended = home.cli(&["task", "watch", "--id", ID, "--url", &server.url]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains(&format!("task {ID} is blocked_by_failures (two: card declined)\nhint: ")),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("n/t: one completed\n"), "{}", ended.stderr);
    let server = Server::answering(200, &task("completed"));
    assert_eq!(home.cli(&["task", "watch", "--id", ID, "--url", &server.url]).code, 0);
}

#[test]
fn unhealthy_is_1() {
    let home = Home::new();
    let health =
        json!({"status": "unhealthy", "checks": {"database": {"status": "unhealthy", "message": "no answer"}}});
    let server = Server::answering(503, &health);
    let ended = home.cli(&["system", "health", "--url", &server.url]);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, "tasker-cli: the server is unhealthy: database: no answer\n"));

    let worker = |id: &str, status: &str| {
        json!({"worker_id": id, "namespaces": ["n"], "status": status, "max_concurrent": 1, "version": "0.1.0", "host": "h",
            "started_at": "2030-01-01T00:00:00Z", "last_heartbeat_at": "2030-01-01T00:00:00Z"})
    };
    for (workers, code) in [
        (json!([worker("a", "running"), worker("b", "stopped")]), 0),
        (json!([worker("a", "running"), worker("b", "lost")]), 1),
    ] {
        let healthy = Server::answering(200, &json!({"status": "healthy", "checks": {}}));
        let server = Server::answering(200, &json!({ "workers": workers }));
        let ended = home.cli(&["worker", "health", "--all", "--url", &server.url, "--worker-url", &healthy.url]);
        assert_eq!(ended.code, code, "{ended:?}");
    }
}

#[test]
fn templates_are_checked_without_a_server() {
    let home = Home::new();
    home.write("good.yaml", &format!("{TEMPLATE}colour: red\n"));
    let ended = home.cli(&["template", "validate", "good.yaml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stdout.starts_with("good.yaml: shapes/diamond 1.2.0, 4 steps\ngood.yaml:16:1: warning: "),
        "{}",
        ended.stdout
    );

    home.write("bad.yaml", &TEMPLATE.replace("[left, right]", "[left, wright]"));
    let ended = home.cli(&["template", "validate", "good.yaml", "bad.yaml"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("\nbad.yaml:15:26: "), "{}", ended.stdout);
    assert_eq!(ended.stderr, "tasker-cli: 1 of 2 templates are invalid\n");
    let ended = home.cli(&["template", "validate", "--json", "good.yaml", "bad.yaml"]);
    let checked: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&checked[0]["valid"], &checked[1]["valid"]), (&json!(true), &json!(false)));
    assert_eq!(checked[1]["errors"][0]["line"], 15);
    assert_eq!(home.cli(&["template", "validate", "missing.yaml"]).code, 2);
}

#[test]
fn an_invalid_template_is_not_sent() {
    let home = Home::new();
    home.write("bad.yaml", &TEMPLATE.replace("1.2.0", "one"));
    let ended = home.cli(&["template", "apply", "bad.yaml", "--url", &nowhere()]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("bad.yaml:3:10: version: "), "{}", ended.stderr);
}

#[test]
fn the_graph_of_a_template_is_drawn() {
    let home = Home::new();
    home.write("diamond.yaml", TEMPLATE);
    let ended = home.cli(&["template", "graph", "diamond.yaml"]);
    let expected = "\
shapes/diamond 1.2.0
   1  start
   2  left  <- start
      right <- start
   3  end <- left, right
";
    assert_eq!((ended.code, ended.stdout.as_str()), (0, expected));
    let ended = home.cli(&["template", "graph", "--dot", "diamond.yaml"]);
    assert!(ended.stdout.contains("\n  \"left\" -> \"end\";\n"), "{}", ended.stdout);
    assert_eq!(home.cli(&["template", "graph"]).code, 2);
}

#[test]
fn settings_are_built_by_both_binaries() {
    let home = Home::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let arguments = ["--context", "common", "--context", "worker", "--environment", "test"];
    let output = home.path().join("built.toml");
    let mut builder = home.program(env!("CARGO_BIN_EXE_config-builder"), &arguments);
    let ended = run(builder.args(["--output"]).arg(&output).current_dir(&repository));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    let mut build = home.program(env!("CARGO_BIN_EXE_tasker-cli"), &["config", "build"]);
    let ended = run(build.args(arguments).current_dir(&repository));
    assert_eq!(ended.stdout, fs::read_to_string(&output).unwrap());
    assert!(ended.stdout.contains("[worker]") && !ended.stdout.contains("[orchestration]"), "{}", ended.stdout);

    let ended = home.cli(&["config", "validate", "built.toml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "built.toml: valid\n"));
    let ended = run(home.program(env!("CARGO_BIN_EXE_tasker-cli"), &["config", "validate"]).current_dir(&repository));
    assert_eq!(ended.code, 0, "{ended:?}");
    let mut builder = home.program(env!("CARGO_BIN_EXE_config-builder"), &["--environment", "prod"]);
    let ended = run(builder.current_dir(&repository));
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("the environments are development, production, test"), "{}", ended.stderr);
}

#[test]
fn wrong_settings_are_2_with_their_location() {
    let home = Home::new();
    home.write("tasker.toml", "[worker]\nmax_concurrent = 0\n");
    let ended = home.cli(&["config", "validate", "tasker.toml"]);
    assert_eq!(ended.code, 2);
    let expected = "the settings of tasker.toml are not valid: worker.max_concurrent = 0, but must be 1 to 10000";
    assert_eq!(ended.stderr, format!("tasker-cli: {expected}\n"));
}

#[test]
fn settings_are_shown_without_passwords() {
    let home = Home::new();
    let mut show = home.program(env!("CARGO_BIN_EXE_tasker-cli"), &["config", "show"]);
    let ended = run(show.env("DATABASE_URL", "postgres://me:secret@host/tasker"));
    assert!(ended.stdout.contains("url = \"postgres://***@host/tasker\""), "{}", ended.stdout);
    assert!(ended.stdout.contains("max_concurrent = 128"), "{}", ended.stdout);
}

#[test]
fn completions_are_printed() {
    let ended = Home::new().cli(&["completions", "bash"]);
    assert_eq!(ended.code, 0);
    assert!(ended.stdout.contains("tasker-cli"));
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let home = Home::new();
    let mut command = home.program(env!("CARGO_BIN_EXE_tasker-cli"), &["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}
