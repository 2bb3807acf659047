//! The history names the key or token behind an operator's action.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tasker_runtime::settings::{Access, Scope};

use crate::http::database;
use crate::server::{Running, key};
use crate::signer::Signer;

#[tokio::test]
async fn the_history_names_the_key_or_token_that_acted() -> Result<()> {
    let postgres = database().await?;
    let signer = Signer::new()?;
    let every = [Scope::Read, Scope::Submit, Scope::Operate];
    let access =
        Access { keys: vec![key("on-call", &every)], jwt_public_key: signer.public_pem(), ..Access::default() };
    let guarded = Running::start(&postgres, access).await?;
    let open = Running::start(&postgres, Access::default()).await?;
    let template = json!({ "name": "t", "namespace_name": "shop", "version": "1.0.0",
                           "steps": [{ "name": "a", "handler": { "callable": "c" } }] });
    ensure!(open.call("", "POST", "/v1/templates", &template).await?.status == 201);

    let token = |claims: Value| signer.token(&claims);
    let of_alice = token(json!({ "exp": 4_000_000_000u32, "scope": "operate", "sub": "auth0|alice" }));
    let of_nobody = token(json!({ "exp": 4_000_000_000u32, "scope": "operate" }));
    let cases = [
        (&guarded, "on-call-key", Value::Null, Some("key:on-call")),
        (&guarded, "on-call-key", json!({ "actor": "alice" }), Some("key:on-call (alice)")),
        (&guarded, "on-call-key", json!({ "actor": "key:other" }), Some("key:on-call (key:other)")),
        (&guarded, &of_alice[..], Value::Null, Some("token:auth0|alice")),
        (&guarded, &of_alice[..], json!({ "actor": "bob" }), Some("token:auth0|alice (bob)")),
        (&guarded, &of_nobody[..], Value::Null, Some("token")),
        (&open, "", json!({ "actor": "bob" }), Some("bob")),
        (&open, "", Value::Null, None),
    ];
    for (server, credential, action, expected) in cases {
        let task = json!({ "namespace": "shop", "name": "t", "context": {} });
        let task = open.call("", "POST", "/v1/tasks", &task).await?.json()?;
        let path = format!("/v1/tasks/{}", task["task_uuid"].as_str().context("no task")?);
        let answer = server.call(credential, "POST", &format!("{path}/cancel"), &action).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let history = open.call("", "GET", &format!("{path}/transitions"), &Value::Null).await?.json()?;
        let transitions = history["transitions"].as_array().context("no transitions")?;
        let cancelled: Vec<_> = transitions.iter().filter(|transition| transition["to"] == "cancelled").collect();
        ensure!(cancelled.len() == 2, "not the task and its step: {history}");
        for transition in cancelled {
            ensure!(transition["actor"].as_str() == expected, "{expected:?}: {transition}");
        }
    }
    guarded.stop().await?;
    open.stop().await
}
