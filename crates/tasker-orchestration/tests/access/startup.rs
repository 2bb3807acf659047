//! Settings that `tasker-server` refuses to start with, and the contents of its log.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::http::{database, send};
use crate::signer::Signer;

/// The server without the environment of the test, except for the variables that find programs and measure coverage.
fn server(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasker-server"));
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for variable in ["PATH", "HOME", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(variable) {
            command.env(variable, value);
        }
    }
    command
}

/// Checks that the server does not start, and returns its message.
async fn refused(command: &mut Command) -> Result<String> {
    let output =
        tokio::time::timeout(Duration::from_secs(20), command.output()).await.context("the server started")??;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{:?}: {said}", output.status);
    ensure!(said.lines().count() == 1, "not one line: {said}");
    Ok(said)
}

#[tokio::test]
async fn without_a_key_the_server_listens_on_loopback_only() -> Result<()> {
    // The server refuses before it needs a database.
    for host in ["0.0.0.0", "::", "192.0.2.1", "::ffff:127.0.0.1"] {
        let said = refused(&mut server(&["--host", host, "--migrate"])).await?;
        for word in ["refusing to listen on", host, "API_KEY", "JWT_PUBLIC_KEY", "--insecure"] {
            ensure!(said.contains(word), "{word} is missing: {said}");
        }
    }
    // With a key, with --insecure or on loopback, only the database is missing.
    let insecure = ("TASKER_ORCHESTRATION_INSECURE", "true");
    let cases = [
        (&["--host", "0.0.0.0"][..], ("API_KEY", "a-key-of-24-or-more-characters"), false),
        (&["--host", "0.0.0.0", "--insecure"], ("UNUSED", ""), true),
        (&["--host", "0.0.0.0"], insecure, true),
        (&["--host", "127.8.0.1"], ("UNUSED", ""), false),
        (&["--host", "::1"], insecure, false),
    ];
    for (arguments, (variable, value), warned) in cases {
        let output = server(arguments).env(variable, value).output().await?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(said.contains("the database has no address"), "{arguments:?}: {said}");
        ensure!(said.contains("insecure: without any key") == warned, "{arguments:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn messages_name_unusable_keys_and_do_not_show_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n")?;
    let empty = empty.to_str().context("not UTF-8")?;
    let short_key = folder.path().join("short");
    std::fs::write(&short_key, "short-secret-words\n")?;
    let short_key = short_key.to_str().context("not UTF-8")?;
    let short = Signer::with_bits(1_024)?.public_pem();
    let elliptic = "-----BEGIN PUBLIC KEY-----\n\
                    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE20MsOVZBSpmLuWFvZ0UPxLTBzGuZ\n\
                    PpWHKcnjOSxVjIBRw0JXcIvCDzUaavZjOHu8cvqgCBXZRSAoYIDMPRYaFg==\n\
                    -----END PUBLIC KEY-----\n";
    let cases = [
        ("API_KEY", "three secret words with spaces", "API_KEY"),
        ("API_KEY", "short", "at least 24"),
        ("API_KEY_FILE", short_key, "at least 24"),
        ("API_KEY_FILE", "/nowhere/key", "/nowhere/key"),
        ("API_KEY_FILE", empty, "API_KEY_FILE"),
        ("JWT_PUBLIC_KEY", "secret words", "not PEM"),
        ("JWT_PUBLIC_KEY", &short, "not an RSA key of 2048"),
        ("JWT_PUBLIC_KEY", elliptic, "not an RSA key of 2048"),
        ("JWT_PUBLIC_KEY_FILE", "/nowhere/pem", "/nowhere/pem"),
    ];
    for (variable, value, expected) in cases {
        let said = refused(server(&[]).env(variable, value)).await?;
        ensure!(said.contains(expected), "{variable}: {said}");
        ensure!(!said.contains("secret words") && !said.contains("secret-words"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_secret_is_logged() -> Result<()> {
    let postgres = database().await?;
    let signer = Signer::new()?;
    let key = "k3y-that-nobody-may-ever-see";
    let token = signer.token(&serde_json::json!({ "exp": 4_000_000_000u32, "scope": "read" }));
    let mut child = server(&["--host", "127.0.0.1", "--port", "0"])
        .env("DATABASE_URL", postgres.url())
        .env("API_KEY", key)
        .env("JWT_PUBLIC_KEY", signer.public_pem().replace('\n', "\\n"))
        .env("RUST_LOG", "trace")
        .spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
    let mut said = String::new();
    let mut address = None;
    let find = async {
        while let Some(line) = lines.next_line().await? {
            said.push_str(&line);
            said.push('\n');
            if let Some((_, rest)) = line.split_once("127.0.0.1:").filter(|_| line.contains("tasker-server listens")) {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                address = Some(SocketAddr::from(([127, 0, 0, 1], port.parse::<u16>()?)));
                break;
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), find).await.context("the server does not listen")??;
    let address = address.with_context(|| format!("the server ended: {said}"))?;
    let reading = tokio::spawn(async move {
        let mut rest = String::new();
        lines.into_inner().read_to_string(&mut rest).await.map(|_| rest)
    });

    for (credential, status) in
        [(key, 200), (&token[..], 200), ("wr0ng-key-of-a-client", 401), (&token[..token.len() - 9], 401)]
    {
        for header in ["Authorization", "X-API-Key"] {
            let value = if header == "Authorization" { format!("Bearer {credential}") } else { credential.to_owned() };
            let answer = send(address, "GET", "/v1/tasks", &[(header, &value)], "").await?;
            ensure!(answer.status == status, "{header}: {answer:?}");
            ensure!(!answer.body.contains(credential), "{answer:?}");
        }
    }
    child.kill().await?;
    let said = said + &reading.await??;
    ensure!(said.contains("/v1/tasks"), "the log does not mention the requests: {said}");
    for word in ["refused a request", "127.1.", "the API key is unknown"] {
        ensure!(said.contains(word), "the log does not say {word:?}: {said}");
    }
    let digest: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = token.rsplit('.').next().context("no signature")?;
    for secret in [key, &token, &signature[..20], "wr0ng-key-of-a-client", &digest] {
        ensure!(!said.contains(secret), "a secret is in the log");
    }
    Ok(())
}
