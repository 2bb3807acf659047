//! Every kind of key and token, on every route.

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use serde_json::{Value, json};
use tasker_orchestration::openapi;
use tasker_runtime::settings::{Access, Scope};
use uuid::Uuid;

use crate::http::{Answer, database, send};
use crate::server::{Running, key};
use crate::signer::{Signer, hmac_token, unsigned};

const ROUTES: [(&str, &str, &[Scope]); 47] = [
    ("GET", "/health", &[]),
    ("GET", "/health/live", &[]),
    ("GET", "/health/ready", &[]),
    ("GET", "/openapi.json", &[]),
    ("GET", "/metrics", &[Scope::Read]),
    ("GET", "/v1/tasks", &[Scope::Read]),
    ("HEAD", "/v1/tasks", &[Scope::Read]),
    ("GET", "/v1/tasks/ID", &[Scope::Read]),
    ("GET", "/v1/tasks/ID/steps", &[Scope::Read]),
    ("GET", "/v1/templates", &[Scope::Read]),
    ("GET", "/v1/dlq", &[Scope::Read]),
    ("GET", "/v1/dlq/ID", &[Scope::Read]),
    ("GET", "/v1/schedules", &[Scope::Read]),
    ("GET", "/v1/gates", &[Scope::Read]),
    ("GET", "/v1/gates/n/a", &[Scope::Read]),
    ("GET", "/v1/workers", &[Scope::Read]),
    ("GET", "/v1/namespaces/n/events", &[Scope::Read]),
    ("GET", "/", &[]),
    ("GET", "/app.js", &[]),
    ("GET", "/v1/system/info", &[Scope::Read]),
    ("GET", "/v1/stats", &[Scope::Read]),
    ("GET", "/v1/tasks/ID/attempts", &[Scope::Read]),
    ("GET", "/v1/tasks/ID/steps/a", &[Scope::Read]),
    ("GET", "/v1/bulk", &[Scope::Read]),
    ("GET", "/v1/bulk/ID", &[Scope::Read]),
    ("GET", "/v1/events", &[Scope::Read]),
    ("POST", "/v1/bulk", &[Scope::Operate]),
    ("POST", "/v1/bulk/ID/stop", &[Scope::Operate]),
    ("POST", "/v1/tasks/ID/rerun", &[Scope::Operate]),
    ("GET", "/no/such/path", &[Scope::Read]),
    ("POST", "/v1/tasks", &[Scope::Submit]),
    ("POST", "/v1/tasks/ID/signals/a", &[Scope::Submit]),
    ("POST", "/v1/tasks/ID/steps/signals/retry", &[Scope::Operate]),
    ("POST", "/v1/templates", &[Scope::Operate]),
    ("POST", "/v1/tasks/ID/cancel", &[Scope::Operate]),
    ("POST", "/v1/tasks/ID/fail", &[Scope::Operate]),
    ("POST", "/v1/tasks/ID/fork", &[Scope::Operate]),
    ("POST", "/v1/tasks/ID/retry", &[Scope::Operate]),
    ("POST", "/v1/dlq", &[Scope::Operate]),
    ("PATCH", "/v1/dlq/ID", &[Scope::Operate]),
    ("PUT", "/v1/schedules/a", &[Scope::Operate]),
    ("POST", "/v1/schedules/a/trigger", &[Scope::Operate]),
    ("PATCH", "/v1/namespaces/n", &[Scope::Operate]),
    ("PATCH", "/v1/gates/n/a", &[Scope::Operate]),
    ("POST", "/v1/tasks/ID/steps/a/retry", &[Scope::Operate]),
    ("POST", "/v1/tasks/ID/steps/a/resolve", &[Scope::Operate]),
    ("DELETE", "/v1/tasks/ID", &[Scope::Operate]),
];

/// A description of the caller, the headers that it sends, and the scopes that it has; none if it is refused.
type Caller = (&'static str, Vec<(String, String)>, Option<Vec<Scope>>);

/// Claims that are valid for an hour.
fn claims(scope: &str) -> Value {
    let exp = Utc::now().timestamp() + 3_600;
    json!({ "sub": "me", "iss": "https://issuer", "aud": ["other", "tasker"], "exp": exp, "scope": scope })
}

/// The claims with some of them replaced; null removes one.
fn claims_but(scope: &str, other: &Value) -> Value {
    let mut claims = claims(scope);
    if let (Some(claims), Some(other)) = (claims.as_object_mut(), other.as_object()) {
        for (name, value) in other {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
    }
    claims
}

/// 401 or 403 if the request was refused, else 200.
fn verdict(answer: &Answer) -> u16 {
    if matches!(answer.status, 401 | 403) { answer.status } else { 200 }
}

#[tokio::test]
async fn scopes_decide_which_routes_a_key_or_token_opens() -> Result<()> {
    use Scope::{Operate, Read, Submit};
    let postgres = database().await?;
    let signer = Signer::new()?;
    let pem = signer.public_pem();
    let access = Access {
        keys: vec![
            key("read", &[Read]),
            key("submit", &[Submit]),
            key("operate", &[Operate]),
            key("every", &[Read, Submit, Operate]),
        ],
        jwt_public_key: pem.clone(),
        jwt_issuer: "https://issuer".to_owned(),
        jwt_audience: "tasker".to_owned(),
        ..Access::default()
    };
    let server = Running::start(&postgres, access).await?;
    let address = server.address;

    // The table holds every route of the API's description, except those that follow the same rule as another route.
    for path in openapi().paths.paths.keys() {
        let pattern = path.replace("{task_uuid}", "ID").replace("{dlq_entry_uuid}", "ID").replace("{id}", "ID");
        let pattern = pattern.replace("{name}", "a").replace("{namespace}", "n");
        let known = ROUTES.iter().any(|(_, route, _)| *route == pattern);
        let same_rule = [
            "/v1/namespaces",
            "/v1/tasks/ID/transitions",
            "/v1/templates/n/a",
            "/v1/templates/n/a/layout",
            // Every valid key or token may ask: `tests/console` checks it.
            "/v1/whoami",
        ];
        ensure!(known || same_rule.contains(&pattern.as_str()), "{path} is not in the table");
    }

    // 1. Every caller, on every route.
    let bearer = |credential: &str| vec![("Authorization".to_owned(), format!("Bearer {credential}"))];
    let callers: Vec<Caller> = vec![
        ("nothing", vec![], None),
        ("an unknown key", bearer("read-keys"), None),
        ("a prefix of a key", bearer("read-ke"), None),
        ("an empty key", bearer(""), None),
        ("a digest", bearer(key("every", &[]).key_sha256.as_deref().unwrap_or_default()), None),
        ("another scheme", vec![("Authorization".to_owned(), "Basic ZXZlcnkta2V5".to_owned())], None),
        ("a read key", bearer("read-key"), Some(vec![Read])),
        ("a submit key", bearer("submit-key"), Some(vec![Submit])),
        ("an operate key", bearer("operate-key"), Some(vec![Operate])),
        ("a key for all", bearer("every-key"), Some(vec![Read, Submit, Operate])),
        ("another header", vec![("X-API-Key".to_owned(), "read-key".to_owned())], Some(vec![Read])),
        ("a small scheme", vec![("authorization".to_owned(), "bearer read-key".to_owned())], Some(vec![Read])),
        ("a token to read and submit", bearer(&signer.token(&claims("openid read submit"))), Some(vec![Read, Submit])),
        ("a token to operate", bearer(&signer.token(&claims("operate"))), Some(vec![Operate])),
        ("a token for nothing", bearer(&signer.token(&claims("reader"))), Some(vec![])),
    ];
    let mut wrong = Vec::new();
    for (who, headers, scopes) in &callers {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for (method, path, needed) in ROUTES {
            let answer = send(address, method, &path.replace("ID", &Uuid::nil().to_string()), &headers, "").await?;
            let expected = match scopes {
                _ if needed.is_empty() => 200,
                None => 401,
                Some(scopes) if needed.iter().all(|scope| scopes.contains(scope)) => 200,
                Some(_) => 403,
            };
            if verdict(&answer) != expected {
                wrong.push(format!("{who}, {method} {path}: {} instead of {expected}", answer.status));
            }
            if matches!(answer.status, 401 | 403) && method != "HEAD" {
                let head = answer.head.to_lowercase();
                let problem = answer.json()?;
                ensure!(head.contains("content-type: application/problem+json"), "{answer:?}");
                ensure!(head.contains("www-authenticate: bearer realm=\"tasker\""), "{answer:?}");
                ensure!(problem["status"] == answer.status, "{answer:?}");
                if let (403, Some(scope)) = (answer.status, needed.first()) {
                    let scope = format!("{scope:?}").to_lowercase();
                    let detail = problem["detail"].as_str().context("no detail")?;
                    ensure!(detail.contains(&format!("`{scope}`")), "{answer:?}");
                    ensure!(head.contains(&format!("scope=\"{scope}\"")), "{answer:?}");
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));

    // 2. Tokens that are not valid, and the reasons.
    let now = Utc::now().timestamp();
    let good = signer.token(&claims("read"));
    let parts: Vec<_> = good.split('.').collect();
    let more = signer.token(&claims("read operate"));
    let tampered = format!("{}.{}.{}", parts[0], more.split('.').nth(1).unwrap_or_default(), parts[2]);
    let says = |header: Value| signer.token_with(&header, &claims("read"));
    let but = |other: Value| signer.token(&claims_but("read", &other));
    let mut with_null = claims("read");
    with_null["namespaces"] = Value::Null;
    let tokens = [
        ("expired", but(json!({ "exp": now - 1 })), "expired"),
        ("without an end", but(json!({ "exp": null })), "exp"),
        ("an exp that is text", but(json!({ "exp": "2099-01-01" })), "exp"),
        ("not yet valid", but(json!({ "nbf": now + 600 })), "not valid yet"),
        ("of another issuer", but(json!({ "iss": "https://issuer.example" })), "issuer"),
        ("of no issuer", but(json!({ "iss": null })), "issuer"),
        ("for another audience", but(json!({ "aud": "other" })), "audience"),
        ("for no audience", but(json!({ "aud": null })), "audience"),
        ("with another key", Signer::new()?.token(&claims("read")), "not signed"),
        ("tampered", tampered, "not signed"),
        ("unsigned", unsigned("none", &claims("read")), "RS256"),
        ("unsigned RS256", unsigned("RS256", &claims("read")), "not signed"),
        ("HS256 with the public key", hmac_token(pem.as_bytes(), &claims("read")), "RS256"),
        ("signed with RS256 that says HS256", says(json!({ "alg": "HS256" })), "RS256"),
        ("RS512", says(json!({ "alg": "RS512" })), "RS256"),
        ("small letters", says(json!({ "alg": "rs256" })), "RS256"),
        ("critical extensions", says(json!({ "alg": "RS256", "crit": ["b64"], "b64": false })), "critical"),
        ("no algorithm", says(json!({ "typ": "JWT" })), "not a JWT"),
        ("no signature", parts[..2].join("."), "not a JWT"),
        ("one part too many", format!("{good}.{}", parts[2]), "not"),
        ("padded", format!("{good}=="), "not a JWT"),
        ("nonsense", "a.b.c".to_owned(), "not a JWT"),
        ("with a scope that is a number", but(json!({ "scope": 7 })), "wrong type"),
        ("with namespaces that are text", but(json!({ "namespaces": "shop" })), "wrong type"),
        ("with namespaces that are null", signer.token(&with_null), "wrong type"),
        ("with a long subject", but(json!({ "sub": "x".repeat(256) })), "longer than 255"),
    ];
    for (what, token, reason) in &tokens {
        let answer = send(address, "GET", "/v1/tasks", &[("Authorization", &format!("Bearer {token}"))], "").await?;
        let detail = answer.json()?["detail"].as_str().unwrap_or_default().to_owned();
        ensure!(answer.status == 401 && detail.contains(reason), "a token {what}: {answer:?}");
        ensure!(token.split('.').all(|part| part.len() < 8 || !answer.body.contains(part)), "{answer:?}");
    }
    let one_audience = but(json!({ "aud": "tasker", "nbf": now - 1, "exp": now as f64 + 99.5 }));
    let answer = send(address, "GET", "/v1/tasks", &[("Authorization", &format!("Bearer {one_audience}"))], "").await?;
    ensure!(answer.status == 200, "{answer:?}");
    // Only one of the two headers is read.
    let answer =
        send(address, "GET", "/v1/tasks", &[("X-API-Key", "nobody"), ("Authorization", "Bearer read-key")], "").await?;
    ensure!(answer.status == 200, "{answer:?}");

    server.stop().await
}

#[tokio::test]
async fn creating_a_task_and_waiting_for_its_results_needs_read_and_submit() -> Result<()> {
    let postgres = database().await?;
    let keys = vec![key("submit", &[Scope::Submit]), key("both", &[Scope::Submit, Scope::Read])];
    let server = Running::start(&postgres, Access { keys, ..Access::default() }).await?;
    let body = json!({ "namespace": "none", "name": "none", "context": {} }).to_string();
    for (key, path, expected) in [
        ("submit-key", "/v1/tasks", 404),
        ("submit-key", "/v1/tasks?wait=1s", 403),
        ("submit-key", "/v1/tasks?%77ait=1s", 403),
        ("both-key", "/v1/tasks?wait=1s", 404),
    ] {
        let authorization = format!("Bearer {key}");
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let answer = send(server.address, "POST", path, &headers, &body).await?;
        ensure!(answer.status == expected, "{key} {path}: {answer:?}");
    }
    Ok(())
}
